"""Random settings, valid and not: each runs its two steps or is refused with one clear line."""

import copy
import math
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small_runs import SETTINGS

from ics import UserError
from ics.runs.config import parse
from ics.runs.execute import run

COMPONENTS: dict[str, list[dict[str, Any]]] = {
    "model": [
        {"name": "mlp", "hidden": [8], "activation": "tanh", "init": {"name": "normal", "std": 0.1}},
        {"name": "deep_linear", "depth": 3, "width": 10, "norm_last": True},
        {"name": "vgg", "depth": 11, "width": 0.05, "head": [8], "head_norm": "first"},
        {"name": "resnet", "depth": 8, "width": 0.25},
    ],
    "norm": [
        {"name": "none"},
        {"name": "batch", "eps": 1e-5, "momentum": 0.1},
        {"name": "noisy_batch", "mean_spread": 0.1},
        {"name": "layer"},
        {"name": "group", "groups": 2},
        {"name": "l1"},
        {"name": "linf"},
        {"name": "noise_only"},
    ],
    "data": [
        {"name": "digits", "size": 8, "scaling": "unit", "limit": 64},
        {"name": "digits", "size": 32, "limit": 64},
        {"name": "gaussian", "samples": 20, "dim": 10, "target": "uniform"},
        {"name": "mnist", "root": "/nowhere"},
        {"name": "cifar10", "root": "/nowhere"},
        {"name": "image_folder", "root": "/nowhere"},
    ],
    "optimizer": [
        {"name": "sgd", "lr": 0.1, "momentum": 0.5, "weight_decay": 0.1},
        {"name": "adam", "lr": 0.1, "beta1": 0.5},
    ],
    "measure": [
        {},
        {"shift": {"every": 1, "layers": [1], "noise": "fresh", "params": "all"}},
        {"landscape": {"every": 1, "factors": [1.0]}},
        {"activations": {"every": 1, "layers": [1]}},
    ],
    "evaluation": [{"every": 1, "batch_size": 50, "train": False}],
    "checkpoint": [{"every_steps": 1, "every_minutes": 0.5, "keep": False}],
}
NUMBERS = [0, 1, 2, 7, -1, 0.5, -0.5, 1e-30, 1e30, math.nan, math.inf, 10**12, 2**70, True, False, None]
WORDS = ["", "x", "none", "batch", "../up", "a b\n", b"bytes"]
ODD = [*NUMBERS, *WORDS, [], [1], [0], [-3], ["x"], {}, {"name": "x"}, {"every": 1}]


def paths(tree: Any, prefix: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """The path of every key."""
    if prefix:
        yield prefix
    if isinstance(tree, dict):
        for key, below in tree.items():
            yield from paths(below, (*prefix, key))


def put(tree: dict[str, Any], path: tuple[str, ...], value: Any) -> None:
    for key in path[:-1]:
        tree = tree[key]
    tree[path[-1]] = value


@st.composite
def random_settings(draw: st.DrawFn) -> dict[str, Any]:
    chosen = copy.deepcopy(SETTINGS) | {"steps": 2, "batch_size": draw(st.sampled_from([None, 1, 2, 16]))}
    for key, choices in COMPONENTS.items():
        chosen[key] = copy.deepcopy(draw(st.sampled_from(choices)))
    for _ in range(draw(st.integers(0, 2))):
        path = draw(st.sampled_from(sorted(paths(chosen))))
        if draw(st.booleans()):
            path = (*path[:-1], path[-1] + "x")
        put(chosen, path, copy.deepcopy(draw(st.sampled_from(ODD))))
    if isinstance(chosen.get("steps"), int) and chosen["steps"] > 2:
        chosen["steps"] = 2
    return chosen


def check(chosen: dict[str, Any], folder: Path) -> None:
    try:
        status = run(parse(chosen), folder, overwrite=True)
    except UserError as error:
        assert str(error)
        assert "\n" not in str(error)
        assert not (folder / "DONE").exists()
    else:
        assert status.state in ("done", "diverged")


@settings(max_examples=250)
@given(random_settings())
def test_random_settings(tmp_path_factory: pytest.TempPathFactory, chosen: dict[str, Any]) -> None:
    check(chosen, tmp_path_factory.mktemp("fuzz"))


@pytest.mark.full
@settings(max_examples=3000)
@given(random_settings())
def test_many_random_settings(tmp_path_factory: pytest.TempPathFactory, chosen: dict[str, Any]) -> None:
    check(chosen, tmp_path_factory.mktemp("fuzz"))


def test_every_key_with_every_odd_value(tmp_path: Path) -> None:
    """One odd value at a time, at every key of the small run."""
    small = copy.deepcopy(SETTINGS) | {"steps": 2}
    for path in sorted(paths(small)):
        for value in ODD:
            chosen = copy.deepcopy(small)
            put(chosen, path, value)
            if path != ("steps",) or not isinstance(value, int) or value <= 2:
                check(chosen, tmp_path / "run")
                shutil.rmtree(tmp_path / "run", ignore_errors=True)
