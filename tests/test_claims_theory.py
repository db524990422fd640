"""The theorems: identities that hold, fail when they are wrong, and are what the committed file says."""

import importlib.util
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch

from ics.analysis.claims import theory


@pytest.fixture(scope="module")
def program() -> Any:
    """scripts/theory.py as a module."""
    spec = importlib.util.spec_from_file_location("theory_program", Path(__file__).parents[1] / "scripts" / "theory.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_committed_residuals_are_those_of_the_program(program: Any) -> None:
    committed = pd.read_csv(program.OUT)
    pd.testing.assert_frame_equal(program.residuals(), committed, rtol=1e-4)
    assert committed["claim"].tolist() == theory.NAMES
    assert program.RESOLUTION == theory.RESOLUTION == committed["residual"].min()


def test_the_identities_hold_and_the_misprint_does_not() -> None:
    verdicts = theory.theory_table().set_index("claim")["verdict"].to_dict()
    assert verdicts.pop("theorem_4_1_as_printed") == "contradicted"
    assert set(verdicts.values()) == {"supported"}
    assert len(verdicts) == 5


def test_derivatives_are_those_of_small_steps(program: Any) -> None:
    case, step = program.Layer(3), 1e-5
    v = torch.ones_like(case.y)
    before, here, after = (float(case.loss_of_y(case.y + h * v * case.x[:, :1])) for h in (-step, 0, step))
    direction = v * case.x[:, :1]
    slope = float((torch.func.grad(case.loss_of_y)(case.y) * direction).sum())
    assert slope == pytest.approx((after - before) / (2 * step), rel=1e-5)
    curved = float(program.curvature(case.loss_of_y, case.y, direction))
    assert curved == pytest.approx((after - 2 * here + before) / step**2, rel=1e-2)


def test_a_wrong_formula_is_found_out(program: Any) -> None:
    case = program.Layer(0)
    case.gamma = case.gamma * (1 + 1e-6)  # but z, and with it g, is that of the right one
    assert float(program.theorem_4_1(case).abs().max()) > theory.TOLERANCE
    assert float(program.theorem_4_2(case).abs().max()) > theory.TOLERANCE
