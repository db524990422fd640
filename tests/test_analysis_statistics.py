"""Statistics over seeds against numbers worked out by hand; the paper's curves as they are typed."""

import math

import numpy as np
import pandas as pd
import pytest

from ics.analysis import over_seeds, paper_curves
from ics.errors import UserError


def frame(values: dict[str, list[float]], **more: object) -> pd.DataFrame:
    rows = [{"run": run, "step": 10 * i, "x": x, **more} for run, xs in values.items() for i, x in enumerate(xs)]
    return pd.DataFrame(rows)


def test_few_seeds_give_the_full_range() -> None:
    table = over_seeds(frame({"a": [1, 4], "b": [2, 6], "c": [9, 5]}), "x")
    assert table.to_dict("list") == {
        "step": [0, 10], "n": [3, 3], "median": [2, 5], "low": [1, 4], "high": [9, 6]
    }  # fmt: skip


def test_many_seeds_give_percentiles_throughout_the_curve() -> None:
    values = {f"r{i}": [float(i), float(i)] for i in range(11)}
    values["r10"] = [10.0]
    for i in range(5):
        values[f"r{i}"] = [float(i)]
    table = over_seeds(frame(values), "x")
    assert table["n"].tolist() == [11, 5]
    assert table["low"].tolist() == [1.0, pytest.approx(5.4)]
    assert table["high"].tolist() == [9.0, pytest.approx(8.6)]


def test_groups_are_apart_and_each_has_its_own_rule() -> None:
    many = frame({f"r{i}": [float(i)] for i in range(11)}, arm="batch")
    few = frame({f"s{i}": [float(i)] for i in range(3)}, arm="standard")
    both = pd.concat([many, few]).astype({"arm": "category"})
    table = over_seeds(both, "x", by=["arm"]).set_index("arm")
    assert table.loc["batch", ["low", "median", "high"]].tolist() == [1, 5, 9]
    assert table.loc["standard", ["low", "median", "high"]].tolist() == [0, 1, 2]


def test_values_that_are_not_finite_are_missing() -> None:
    table = over_seeds(frame({"a": [1, math.nan, math.inf], "b": [3, math.nan, 7]}), "x")
    assert table["n"].tolist() == [2, 0, 1]
    np.testing.assert_array_equal(table["median"], [2, math.nan, 7])


def test_rows_that_are_not_apart_are_refused() -> None:
    with pytest.raises(ValueError, match="several rows for the same step"):
        over_seeds(pd.concat([frame({"a": [1]})] * 2), "x")


def test_the_papers_curves() -> None:
    paper = paper_curves("3a", quantity="ics_l2", lr=0.1, layer=5)
    start = paper[paper["step"] == 0].set_index("arm")["value"]
    assert start["batch"] == pytest.approx(14.7, rel=0.01)  # the facts sheet's values
    assert start["standard"] == pytest.approx(0.041, rel=0.02)
    assert paper["axis_labelled"].all()
    assert not paper_curves("3a", layer=10, quantity="ics_l2")["axis_labelled"].any()
    assert set(paper_curves("3")["figure"]) == {"3a", "3b"}
    assert set(paper_curves("2")["arm"]) == {"standard", "batch", "noisy_batch"}
    everything = paper_curves()
    assert len(everything) == 16822
    assert everything["layer"].dtype == "Int64"
    assert everything["axis_labelled"].dtype == "bool"


def test_a_figure_without_curves() -> None:
    with pytest.raises(UserError, match="no digitised curves of figure '7'; there are 10a"):
        paper_curves("7")
