"""A finished run that is asked for with more steps ends with the bytes of one that had them from the start."""

from pathlib import Path

import pytest
import torch
from PIL import Image
from small_runs import config, finish, results, start_child
from test_runs_resume import die_in_csv_write

from ics.errors import UserError
from ics.runs.config import RunConfig
from ics.runs.execute import run


@pytest.mark.parametrize("steps", [1, 20, 33])  # 20: an evaluation is due at the very end, 33: it is not
def test_a_lengthened_run_is_an_undisturbed_one(steps: int, undisturbed: dict[str, bytes], tmp_path: Path) -> None:
    run(config(steps=steps), tmp_path)
    assert results(tmp_path) != undisturbed
    status = run(config(), tmp_path)
    assert (status.state, status.step, status.steps) == ("done", 60, 60)
    assert results(tmp_path) == undisturbed
    assert not (tmp_path / "checkpoint.previous.pt").exists()


def test_killed_while_it_is_lengthened(undisturbed: dict[str, bytes], tmp_path: Path) -> None:
    run(config(steps=33), tmp_path)
    process = start_child(config(), tmp_path, before=lambda: die_in_csv_write(8))
    process.join()
    assert process.exitcode != 0 and not (tmp_path / "DONE").exists()
    assert finish(config(), tmp_path) == 0
    assert (tmp_path / "DONE").exists() and results(tmp_path) == undisturbed


def test_without_its_last_state_it_cannot_be_lengthened(tmp_path: Path) -> None:
    forgetful = {"checkpoint": {"every_steps": 7, "every_minutes": None, "keep": False}}
    run(config(steps=10, **forgetful), tmp_path)
    rows = (tmp_path / "training.csv").read_bytes()
    with pytest.raises(UserError, match="finished its 10 steps without keeping its last state.*lengthened to 60"):
        run(config(**forgetful), tmp_path)
    assert (tmp_path / "training.csv").read_bytes() == rows and (tmp_path / "DONE").exists()


@pytest.mark.filterwarnings("ignore:.*is left aside")
@pytest.mark.parametrize("file", ["checkpoint.pt", "shift.csv"])
def test_with_its_last_state_or_rows_damaged_neither(file: str, tmp_path: Path) -> None:
    run(config(steps=10), tmp_path)
    (tmp_path / file).write_bytes((tmp_path / file).read_bytes()[:-100])
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(UserError, match="or that or the rows are damaged.*lengthened to 60"):
        run(config(), tmp_path)
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_a_run_that_was_stopped_may_be_made_shorter(tmp_path: Path) -> None:
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    run(config(steps=33), whole)
    process = start_child(config(), cut, before=lambda: die_in_csv_write(20))
    process.join()
    made = torch.load(cut / "checkpoint.pt")["step"]
    assert 0 < made < 33
    with pytest.raises(UserError, match=rf"steps \(60 there, {made - 1} asked for\)"):
        run(config(steps=made - 1), cut)
    assert run(config(steps=33), cut).step == 33
    assert results(cut) == results(whole)


def test_it_does_not_go_on_with_other_data(tmp_path: Path) -> None:
    for split in ("train", "test"):
        for label in ("a", "b"):
            (folder := tmp_path / "images" / split / label).mkdir(parents=True)
            Image.new("RGB", (8, 8), "red" if label == "a" else "blue").save(folder / "0.png")

    def of(steps: int) -> RunConfig:
        return config(steps=steps, batch_size=2, data={"name": "image_folder", "root": str(tmp_path / "images")})

    run(of(4), tmp_path / "run")
    rows = (tmp_path / "run" / "training.csv").read_bytes()
    Image.new("RGB", (8, 8), "green").save(tmp_path / "images" / "train" / "a" / "0.png")
    with pytest.raises(UserError, match="the data images are not those that .* was trained on up to step 4"):
        run(of(8), tmp_path / "run")
    assert (tmp_path / "run" / "training.csv").read_bytes() == rows
    assert run(of(8), tmp_path / "run", overwrite=True).step == 8
