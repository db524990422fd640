"""What a person can get wrong in a setting: one clear line, and nothing is left behind."""

from pathlib import Path
from typing import Any

import pytest
from small_runs import config

from ics import UserError
from ics.runs.config import parse
from ics.runs.execute import run

DIGITS_32 = {"name": "digits", "size": 32}
GAUSSIAN = {"name": "gaussian"}
RUN: list[tuple[dict[str, Any], str]] = [
    ({"steps": 0}, "steps: .*greater than or equal to 1"),
    ({"seed": -1}, "seed: .*greater than or equal to 0"),
    ({"batch_size": 0}, "batch_size"),
    ({"batch_size": 1000}, "1000 .* 200"),
    ({"batch_size": 1}, "at least 2"),
    ({"threads": 0}, "threads"),
    ({"device": "abacus"}, "abacus"),
    ({"evaluation__every": 0}, "evaluation.every"),
    ({"experiment": "../evil"}, "experiment"),
    ({"deterministic": "maybe"}, "deterministic"),
    ({"measure": {"shft": {"every": 1}}}, "did you mean 'shift'?"),
    ({"measure": {"mine": {"quantity": "shft", "every": 1}}}, "did you mean 'shift'"),
    ({"measure": {"mine": {"every": 1}}}, "unknown quantity 'mine'"),
    ({"measure": {"training": {"quantity": "shift", "every": 1}}}, "name of a table"),
    ({"measure": {"a/b": {"quantity": "shift", "every": 1}}}, "name of a table"),
    ({"measure": {"shift": {"every": 0}}}, "measure.shift.every"),
    ({"measure": {"shift": {"every": True}}}, "measure.shift.every"),
    ({"measure": {"shift": {"every": 1, "also": [3, "10"]}}}, r"measure.shift.also.1: .* \(got '10'\)"),
    ({"measure": {"shift": {"every": 1, "layers": [9]}}}, "no layer 9; the measurable layers are 1 .fc1."),
]
# Of a component: its settings, or those that differ from the small run's, with `component__option`.
OPTIMIZERS: list[tuple[dict[str, Any], str]] = [
    ({"optimizer__lr": 0}, "lr: .*greater than 0 .*got 0"),
    ({"optimizer__lr": -0.1}, "greater than 0"),
    ({"optimizer__momentum": 1}, "less than 1"),
    ({"optimizer": {"name": "sdg", "lr": 0.1}}, "unknown optimizer 'sdg'; did you mean 'sgd'?"),
    ({"optimizer": {"name": "sgd"}}, "lr"),
]
MODELS: list[tuple[dict[str, Any], str]] = [
    ({"model__hiden": [3]}, "has no option 'hiden'; did you mean 'hidden'?"),
    ({"model__hidden": [-3]}, "hidden.0.*greater than"),
    ({"model__activation": "gelu"}, "'relu', 'sigmoid' or 'tanh'"),
    ({"model__init": {"name": "normal", "std": 0}}, "std.*greater than"),
    ({"model__init": {"name": "glorot"}}, "unknown initialisation 'glorot'"),
    ({"model": {"name": "vggg"}}, r"unknown network 'vggg'; did you mean 'vgg'\?"),
    ({"model": {"name": "vgg"}}, r"\(channels, 32, 32\).*\(1, 8, 8\); data.size=32 upscales"),
    ({"model": {"name": "vgg"}, "data": GAUSSIAN}, r"have shape \(10,\)"),
    ({"model": {"name": "vgg", "depth": 12}, "data": DIGITS_32}, "depth.*11, 13, 16 or 19.*got 12"),
    ({"model": {"name": "vgg", "width": 0}, "data": DIGITS_32}, "width.*greater than"),
    ({"model": {"name": "vgg", "head": [512, 0]}, "data": DIGITS_32}, "head.1.*greater than"),
    ({"model": {"name": "vgg", "head_norm": True}, "data": DIGITS_32}, "'none', 'first' or 'all'"),
    ({"model": {"name": "deep_linear", "width": 7}, "data": GAUSSIAN}, r"width 7 does not fit .* \(10,\)"),
    ({"model": {"name": "deep_linear"}}, "model.width"),
    ({"model": {"name": "resnet", "depth": 21}, "data": DIGITS_32}, "6n \\+ 2 .*model.depth=21"),
    ({"model": {"name": "resnet"}, "data": GAUSSIAN}, r"have shape \(10,\)"),
]
NORMS: list[tuple[dict[str, Any], str]] = [
    ({"name": "bacth"}, r"unknown norm 'bacth'; did you mean 'batch'\?"),
    ({"name": "batch", "momentum": 1.5}, "momentum.*less than or equal to 1"),
    ({"name": "batch", "groups": 4}, "'batch' has no option 'groups'"),
    ({"name": "l1", "eps": -1}, "norm 'l1': eps.*greater than or equal to 0"),
    ({"name": "l2", "p": 3}, "norm 'l2' has no option 'p'"),
    ({"name": "group", "groups": 0}, "groups.*greater than"),
    ({"name": "group", "groups": 5}, "5 groups do not divide 16 features; .*one of 1, 2, 4, 8, 16"),
    ({"name": "noisy_batch", "mean_range": "wide"}, "mean_range"),
    ({"name": "noisy_batch", "mean_spread": -0.1}, "mean_spread.*greater than or equal to 0"),
    ({"name": "noisy_batch", "scale_range": [1.25, 1]}, "scale_range: the lower end comes first"),
]
DATA: list[tuple[dict[str, Any], str]] = [
    ({"name": "digit"}, r"unknown data set 'digit'; did you mean 'digits'\? known: cifar10, digits, "),
    ({"name": "digits", "size": 4}, "size.*greater than or equal to 8"),
    ({"name": "digits", "size": -8}, "size.*greater than or equal to 8"),
    ({"name": "digits", "limit": 0}, "limit.*greater than"),
    ({"name": "digits", "limit": 2000}, "data.limit=2000 is more than the 1438 training images"),
    ({"name": "digits", "scaling": "standardise"}, "'standardize', 'per_image', 'unit'"),
    ({"name": "digits", "root": "x"}, "data set 'digits' has no option 'root'"),
    ({"name": "gaussian", "samples": 0}, "samples.*greater than"),
    ({"name": "gaussian", "dim": -1}, "dim.*greater than"),
    ({"name": "gaussian", "target": "cauchy"}, "'normal' or 'uniform'"),
    ({"name": "image_folder"}, "root is missing"),
    ({"name": "mnist", "root": "/nowhere"}, "train-images-idx3-ubyte"),
]
COMPONENTS = [*(({"norm": at}, line) for at, line in NORMS), *(({"data": at}, line) for at, line in DATA)]


@pytest.mark.parametrize(("changes", "message"), [*RUN, *OPTIMIZERS, *MODELS, *COMPONENTS])
def test_bad_settings_get_one_clear_line(changes: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=message) as error:
        run(config(**changes), tmp_path / "run")
    assert "\n" not in str(error.value)
    assert not (tmp_path / "run").exists()  # a run that never began leaves nothing behind


def test_a_number_given_as_text_is_that_number() -> None:
    texts = config(optimizer__lr="0.05", model__hidden=["16", 16], measure={"mine": {"quantity": "shift", "every": 4}})
    assert texts == config(measure={"mine": {"quantity": "shift", "every": 4}})
    assert texts.optimizer["lr"] == 0.05 and texts.model["hidden"] == [16, 16]


def test_unknown_and_missing_settings() -> None:
    with pytest.raises(UserError, match="unknown setting 'stepps'; did you mean 'steps'?"):
        parse({"stepps": 1})
    with pytest.raises(UserError, match="setting experiment is missing"):
        parse({"steps": 1})
