"""The time of a run is judged by the runs most like it."""

from pathlib import Path

import pytest
from small_runs import config

from ics.folder import Status
from ics.runs.folder import write_settings, write_status
from ics.runs.progress import Outlook, finished_paces, seconds_per_step


def finished(root: Path, name: str, step: int, seconds: float, state: str = "done", **changes: object) -> None:
    folder = root / name
    folder.mkdir()
    write_settings(folder, config(**changes).model_dump())
    write_status(folder, Status(state, step, 60, seconds, "", ""))  # type: ignore[arg-type]


def test_the_most_similar_runs_count(tmp_path: Path) -> None:
    finished(tmp_path, "a", 60, 6.0)
    finished(tmp_path, "b", 60, 18.0, seed=4, steps=30, optimizer__lr=0.5)  # as fast as any other with these settings
    finished(tmp_path, "c", 20, 8.0, state="diverged", norm={"name": "none"})
    finished(tmp_path, "d", 60, 60.0, norm={"name": "layer"}, batch_size=64)
    finished(tmp_path, "e", 60, 0.6, state="interrupted")
    (tmp_path / "c" / "junk").mkdir()
    (tmp_path / "c" / "junk" / "status.json").write_text("{")
    paces = finished_paces(tmp_path)
    assert len(paces) == 4

    def pace(**changes: object) -> float | None:
        return seconds_per_step(config(**changes).model_dump(), paces)

    assert pace(seed=9, steps=7) == pytest.approx(0.2)
    assert pace(norm={"name": "none"}) == pytest.approx(0.4)
    assert pace(norm={"name": "layer"}, batch_size=64, augment=True) == pytest.approx(1.0)
    assert pace(model={"name": "vgg"}) is None
    assert seconds_per_step(config().model_dump(), []) is None


def test_the_first_dear_step_of_a_run_does_not_count_for_all(tmp_path: Path) -> None:
    """A second a step, by a finished run; the other has taken 100 seconds for two, and 200 for ten."""
    finished(tmp_path, "like", 60, 60.0)
    finished(tmp_path, "now", 2, 100.0, state="running")
    runs = {tmp_path / "now": config()}
    assert Outlook(runs, 1, finished_paces(tmp_path)).left() == (1, 58.0, 0)
    write_status(tmp_path / "now", Status("running", 10, 60, 200.0, "", ""))
    assert Outlook(runs, 1, finished_paces(tmp_path)).left() == (1, 1000.0, 0)
