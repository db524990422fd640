"""What a person's own components do wrong is told in one line, before anything has begun."""

import math
import re
import sys
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
import torch
from small_runs import config
from torch import nn

from ics.data import DATASETS
from ics.data.dataset import Dataset, Split, identity
from ics.errors import UserError
from ics.files import as_path
from ics.nets import NETS
from ics.quantities import QUANTITIES
from ics.registry import Registry, import_plugin
from ics.runs.execute import run, try_out
from ics.tables import Table, columns


def raising() -> None:
    raise KeyError("deep\nbelow")


def split(targets: Any, samples: int = 40) -> Split:
    return Split(torch.randn(samples, 4), torch.as_tensor(targets))


CLASSES = torch.arange(40) % 3
BAD_NETWORKS: dict[str, tuple[Any, str]] = {
    "no_parameters": (
        lambda norm, input_shape, outputs: nn.Sequential(nn.Flatten(), nn.AdaptiveAvgPool1d(outputs)),
        "optimizer got an empty parameter list",
    ),
    "other_input": (
        lambda norm, input_shape, outputs: nn.Sequential(nn.Flatten(), nn.Linear(63, outputs)),
        r"the run cannot be built: RuntimeError: .*shapes cannot be multiplied",
    ),
    "other_output": (
        lambda norm, input_shape, outputs: nn.Sequential(nn.Flatten(), nn.Linear(64, outputs + 3)),
        r"model 'bad_other_output' gives \(2, 13\) for inputs \(2, 1, 8, 8\), not \(2, 10\)",
    ),
    "no_module": (lambda norm, input_shape, outputs: "hello", "'str' object has no attribute 'modules'"),
    "an_error": (
        lambda norm, input_shape, outputs: raising(),
        r"the run cannot be built: KeyError: 'deep\\nbelow' \(test_own_components.py:\d+\)",
    ),
    "lacks_context": (
        lambda outputs: nn.Identity(),
        "must take norm, input_shape, outputs; it lacks norm, input_shape",
    ),
    "lacks_option": (lambda norm, input_shape, outputs, depth: nn.Identity(), "'bad_lacks_option': depth is missing"),
}
BAD_DATA: dict[str, tuple[Any, str]] = {
    "no_samples": (lambda: (split([], 0), split(CLASSES)), "the training split of own needs at least one sample"),
    "too_few_targets": (lambda: (split(CLASSES), split(CLASSES[:5])), "its targets are int64 (5,) for 40 samples"),
    "float_classes": (lambda: (split(CLASSES.float()), split(CLASSES)), "needs targets from 0 to 2, int64 (N,); its"),
    "unknown_class": (lambda: (split(CLASSES), split(CLASSES + 1)), "the test split of own needs targets from 0 to 2"),
}


class Good:
    """A quantity."""

    table = Table("good", columns(("step", "int", "when"), ("size", "float", "what")))

    def __init__(self, model: nn.Module, loss_fn: Any) -> None:
        self.rows: Any = [{"size": 1.0}]

    def observe(self, step: Any) -> Any:
        return nullcontext(self.rows)

    def close(self) -> None: ...


class WithoutTable(Good):
    table: Any = property(lambda self: raising())


class WithoutClose(Good):
    close: Any = property(lambda self: getattr(self, "no such"))


class OtherColumns(Good):
    def observe(self, step: Any) -> Any:
        return nullcontext([{"length": 1.0}])


class TwoRows(Good):
    def observe(self, step: Any) -> Any:
        return nullcontext([{"size": 1.0}, {"size": 2.0}])


class Infinite(Good):
    def observe(self, step: Any) -> Any:
        return nullcontext([{"size": math.inf}])


def refused(settings: Any, folder: Path) -> str:
    """What is said of a run, which is the same when it is only planned, and leaves nothing behind."""
    said = []
    for attempt in (lambda: try_out(settings), lambda: run(settings, folder)):
        with pytest.raises(UserError) as caught:
            attempt()
        said.append(str(caught.value))
    assert said[0] == said[1] and "\n" not in said[0] and not folder.exists()
    return said[0]


@pytest.fixture
def registered(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Registers what is gone after the test."""

    def register(registry: Registry[Any], name: str, builder: Any) -> None:
        others = {known: other for known, other in registry._builders.items() if known != name}
        monkeypatch.setattr(registry, "_builders", others)
        registry.register(name)(builder)

    return register


@pytest.mark.parametrize("name", BAD_NETWORKS)
def test_a_network_that_does_not_fit(name: str, registered: Any, tmp_path: Path) -> None:
    builder, line = BAD_NETWORKS[name]
    registered(NETS, f"bad_{name}", builder)
    assert re.search(line, refused(config(model={"name": f"bad_{name}"}, measure={}), tmp_path / "run"))


@pytest.mark.parametrize("name", BAD_DATA)
def test_data_that_make_no_sense(name: str, registered: Any, tmp_path: Path) -> None:
    splits, line = BAD_DATA[name]
    registered(
        DATASETS, "bad", lambda seed, device: Dataset("own", *splits(), 3, task="classification", transform=identity)
    )
    assert line in refused(config(data={"name": "bad"}), tmp_path / "run")


def test_a_quantity_that_lacks_something(registered: Any, tmp_path: Path) -> None:
    registered(QUANTITIES, "own", WithoutClose)
    own = config(measure={"own": {"every": 1}})
    assert refused(own, tmp_path / "run") == "measure.own: WithoutClose lacks close"
    registered(QUANTITIES, "own", WithoutTable)
    assert "KeyError" in refused(own, tmp_path / "run")
    registered(QUANTITIES, "own", OtherColumns)
    with pytest.raises(UserError, match=r"table 'own' has the columns \['step', 'size'\], the row has \['length', 'st"):
        run(own, tmp_path / "run")
    assert not (tmp_path / "run").exists()  # nothing was trained yet
    registered(QUANTITIES, "own", TwoRows)
    with pytest.raises(UserError, match="table 'own' got two rows for step 0"):
        run(own, tmp_path / "run")
    registered(QUANTITIES, "own", Infinite)
    with pytest.raises(UserError, match="table 'own', column 'size', step 0: inf is not finite; nan=True in"):
        run(own, tmp_path / "run")
    registered(QUANTITIES, "own", Good)
    assert run(own, tmp_path / "run").state == "done"


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("raise SystemExit(0)", "plugin 'own_plugin' cannot be imported: SystemExit: 0 (own_plugin.py:1)"),
        ("\nraise OSError('a\\nb')", "plugin 'own_plugin' cannot be imported: OSError: a b (own_plugin.py:2)"),
    ],
)
def test_a_plugin_that_ends_or_raises(text: str, line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "own_plugin.py").write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "own_plugin", raising=False)
    with pytest.raises(UserError) as caught:
        import_plugin("own_plugin")
    assert str(caught.value) == line


def test_a_home_that_is_not_known_is_a_name_like_any_other() -> None:
    assert as_path("~no-such-person/runs") == Path("~no-such-person/runs")
    assert as_path("~/runs") == Path.home() / "runs"
