"""Pages full of numbers: the same on every machine but for the rounding of the last digit."""

import re

import pytest

NUMBER = re.compile(r"\d[\d,]*(?:\.\d+)?(?:e[-−]?\d+)?")


def assert_same_page(found: str, expected: str) -> None:
    """The same words; numbers with decimals may differ by one in the last, others by 1 %."""
    assert NUMBER.sub("0", found) == NUMBER.sub("0", expected)
    for text, other in zip(NUMBER.findall(found), NUMBER.findall(expected), strict=True):
        (value, _), (wanted, last) = _read(text), _read(other)
        assert value == pytest.approx(wanted, rel=0.01, abs=last), f"{text} is not {other}"


def _read(text: str) -> tuple[float, float]:
    """A number, and one in its last decimal; 0 where it has none."""
    mantissa, _, exponent = text.replace(",", "").replace("−", "-").partition("e")
    scale, decimals = 10.0 ** int(exponent or 0), len(mantissa.partition(".")[2])
    return float(mantissa) * scale, scale * 10.0**-decimals if decimals else 0.0
