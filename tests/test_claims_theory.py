"""The theorems: identities that hold, fail when they are wrong, and are what the committed file says."""

from pathlib import Path

import pandas as pd
import pytest
import torch

from ics.analysis.claims import theory
from ics.laboratory import theory as identities


def test_the_committed_residuals_are_those_of_the_program() -> None:
    committed = pd.read_csv(Path(theory.__file__).with_name("theory.csv"))
    pd.testing.assert_frame_equal(identities.residuals(), committed, rtol=1e-4)
    assert committed["claim"].tolist() == theory.NAMES
    assert identities.RESOLUTION == theory.RESOLUTION == committed["residual"].min()


def test_the_identities_hold_and_the_misprint_does_not() -> None:
    verdicts = theory.theory_table().set_index("claim")["verdict"].to_dict()
    assert verdicts.pop("theorem_4_1_as_printed") == "contradicted"
    assert set(verdicts.values()) == {"supported"}
    assert len(verdicts) == 5


def test_derivatives_are_those_of_small_steps() -> None:
    case, step = identities.Layer(3), 1e-5
    v = torch.ones_like(case.y)
    before, here, after = (float(case.loss_of_y(case.y + h * v * case.x[:, :1])) for h in (-step, 0, step))
    direction = v * case.x[:, :1]
    slope = float((torch.func.grad(case.loss_of_y)(case.y) * direction).sum())
    assert slope == pytest.approx((after - before) / (2 * step), rel=1e-5)
    curved = float(identities.curvature(case.loss_of_y, case.y, direction))
    assert curved == pytest.approx((after - 2 * here + before) / step**2, rel=1e-2)


def test_a_wrong_formula_is_found_out() -> None:
    case = identities.Layer(0)
    case.gamma = case.gamma * (1 + 1e-6)  # but z, and with it g, is that of the right one
    assert float(identities.theorem_4_1(case).abs().max()) > theory.TOLERANCE
    assert float(identities.theorem_4_2(case).abs().max()) > theory.TOLERANCE
