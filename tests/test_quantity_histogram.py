"""Histograms against NumPy's, and the nested grid."""

import math

import numpy as np
import pytest
import torch
from measuring import identity, measured
from torch import nn

from ics.errors import UserError


def measure(x: torch.Tensor, **options):
    """Histograms of the outputs of an identity map."""
    return measured("histogram", nn.Sequential(identity(x.shape[1])), x, x, lambda out, y: out.sum(), **options)


def counts(rows, unit=-1):
    return {row["low"]: row["count"] for row in rows if row["unit"] == unit}


def test_fixed_bins_count_like_numpy_and_keep_what_is_outside():
    x = 2 * torch.randn(500, 3)
    rows = measure(x, bins=10, low=-2, high=3)
    inside, edges = np.histogram(x.double().numpy(), bins=10, range=(-2, 3))
    found = counts(rows)
    assert [found.get(edge, 0) for edge in edges[:-1]] == inside.tolist()
    assert found[-math.inf] == (x < -2).sum().item()
    assert found[3.0] == (x >= 3).sum().item()
    assert sum(found.values()) == x.numel()
    assert all(row["low"] < row["high"] for row in rows)
    assert [row["low"] for row in rows] == sorted(row["low"] for row in rows)


def test_an_edge_belongs_to_the_bin_above_it():
    assert counts(measure(torch.tensor([[0.0], [1.0], [1.5], [2.0]]), bins=2, low=0, high=2)) == {0: 1, 1: 2, 2: 1}


def test_units_one_by_one_add_up_to_all():
    x = torch.randn(200, 4)
    options = {"bins": 8, "low": -2, "high": 2}
    rows = measure(x, units=[3, 1, 9], **options)
    assert {row["unit"] for row in rows} == {1, 3}
    assert sum(counts(rows, 1).values()) == 200
    pooled = counts(measure(x, **options))
    single = [counts(measure(x, units=range(4), **options), unit) for unit in range(4)]
    assert pooled == {low: sum(one.get(low, 0) for one in single) for low in pooled}


@pytest.mark.parametrize("scale", [1e-6, 0.01, 1.0, 37.0, 1e8])
def test_own_bins_fit_any_scale_and_are_nested(scale):
    rows = measure(scale * (torch.randn(4000, 2) + 5), bins=40)
    inner = [row for row in rows if math.isfinite(row["low"]) and math.isfinite(row["high"])]
    widths = {row["high"] - row["low"] for row in inner}
    assert len(widths) == 1 and 15 <= len(inner) <= 40
    width = widths.pop()
    assert math.frexp(width)[0] == 0.5, "a power of two"
    assert all(row["low"] % width == 0 for row in inner)
    assert sum(row["count"] for row in rows) == 8000
    assert sum(row["count"] for row in inner) >= 0.997 * 8000


def test_degenerate_samples():
    assert counts(measure(torch.full((6, 1), 5.25))) == {5.0: 6}
    assert counts(measure(torch.zeros(6, 1))) == {0.0: 6}
    assert counts(measure(torch.tensor([[math.nan], [math.inf], [-math.inf], [1.0]]))) == {-math.inf: 1, 1.0: 1, 2.0: 1}
    assert counts(measure(torch.full((3, 1), math.nan))) == {}


def test_bad_ranges_are_refused():
    for options in ({"low": 0.0}, {"high": 1.0}, {"low": 1.0, "high": 1.0}, {"bins": 0}):
        with pytest.raises(UserError):
            measure(torch.zeros(4, 1), **options)
