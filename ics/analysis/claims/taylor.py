"""Exact first and second derivatives along a line, in NumPy: series in t, cut off after t²."""

from dataclasses import dataclass
from typing import Any

import numpy as np

Array = np.ndarray[Any, np.dtype[np.float64]]


@dataclass(frozen=True)
class Taylor:
    """a + b t + c t²: the value, the first derivative and half the second one of everything computed from it.

    No step length, hence no error but rounding. An operand that is a plain array is a constant.
    """

    a: Array
    b: Array
    c: Array

    def __add__(self, other: "Taylor | Array | float") -> "Taylor":
        if isinstance(other, Taylor):
            return Taylor(self.a + other.a, self.b + other.b, self.c + other.c)
        return Taylor(self.a + other, self.b, self.c)

    def __sub__(self, other: "Taylor") -> "Taylor":
        return Taylor(self.a - other.a, self.b - other.b, self.c - other.c)

    def __mul__(self, other: "Taylor | Array | float") -> "Taylor":
        if isinstance(other, Taylor):
            second = self.a * other.c + self.b * other.b + self.c * other.a
            return Taylor(self.a * other.a, self.a * other.b + self.b * other.a, second)
        return Taylor(self.a * other, self.b * other, self.c * other)

    def __truediv__(self, other: "Taylor") -> "Taylor":
        a = self.a / other.a
        b = (self.b - a * other.b) / other.a
        return Taylor(a, b, (self.c - a * other.c - b * other.b) / other.a)

    def linear(self, left: Array, right: Array) -> "Taylor":
        """left · self · right, matrix products."""
        return Taylor(*(left @ part @ right for part in (self.a, self.b, self.c)))

    def mean(self) -> "Taylor":
        """Over the first dimension."""
        return Taylor(self.a.mean(axis=0), self.b.mean(axis=0), self.c.mean(axis=0))

    def sqrt(self) -> "Taylor":
        """The square root."""
        a = np.sqrt(self.a)
        b = self.b / (2 * a)
        return Taylor(a, b, (self.c - b * b) / (2 * a))

    def tanh(self) -> "Taylor":
        """The hyperbolic tangent: f′ = 1 − f², f″ = −2 f f′."""
        f = np.tanh(self.a)
        slope = 1 - f * f
        return Taylor(f, slope * self.b, slope * self.c - f * slope * self.b * self.b)
