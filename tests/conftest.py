"""One thread per test process: a second one collapses as soon as anything else runs, and bits depend on the number."""

import os
from functools import cache
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest
import torch
from hypothesis import HealthCheck, settings
from made_up_paper import copies
from small_runs import config, finish, results
from sweeps import Serial, csv_files, sweep

# The same examples every time, however long each takes.
settings.register_profile(
    "tests", deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck)
)
settings.load_profile("tests")

torch.set_num_threads(1)
# The first backward pass decides whether autograd has threads; after torch.compile it would, and tests could not fork.
torch.ones((), requires_grad=True).backward()


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)


@pytest.fixture(scope="session")
def paper_like(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two seeds of everything in the paper: its own curves, and 3 points above or twice as high."""
    root = tmp_path_factory.mktemp("paper_like")
    for model in ("vgg", "dln"):
        copies(root, model, (0, 1), lambda q, s, v: v + 3 * s if "percent" in q else v * (1 + s))
    return root


@pytest.fixture(scope="session")
def undisturbed_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The small run, made without an accident."""
    folder = tmp_path_factory.mktemp("undisturbed")
    assert finish(config(), folder) == 0
    return folder


@pytest.fixture(scope="session")
def undisturbed(undisturbed_folder: Path) -> dict[str, bytes]:
    """What the small run must end with, whatever happens to it."""
    return results(undisturbed_folder)


@pytest.fixture(scope="session")
def serial(tmp_path_factory: pytest.TempPathFactory) -> Serial:
    """Every sweep is made once for all tests."""

    @cache
    def made(*words: str) -> dict[str, bytes]:
        runs = tmp_path_factory.mktemp("serial")
        sweep(runs, *words)
        return csv_files(runs)

    return made
