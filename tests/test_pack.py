"""Packed runs are the runs: the same frames, states and speeds, whatever was packed first."""

import errno
import gzip
import json
import math
import shutil
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from made_up_runs import DLN, SETTINGS, SHIFT, TRAINING, merged, shift_rows, training_rows, write_run
from programs import program

from ics import UserError, files, load_runs
from ics.analysis.load import Runs
from ics.analysis.pack import pack
from ics.analysis.status import run_states
from ics.folder import find_runs, from_cell, to_cell
from ics.runs.progress import finished_paces
from ics.tables import Table, columns

EMPTY = Table("events", columns(("step", "int", "number of updates"), ("what", "str", "a, b")), ("step", "what"))


@pytest.fixture
def folders(tmp_path: Path) -> Path:
    """Runs with all that is hard to keep: commas in names, types, a diverged run, a table without rows."""
    root = tmp_path / "runs"
    odd = {"odd": {"text": "0.1", "none": None, "lists": [1, [2.5, "x"]], "yes": True, "empty": "", "comma": "a,b"}}
    write_run(root, "vgg/w=1,2/seed0", merged(SETTINGS, odd), data_label="digits, small")
    write_run(root, "vgg/w=1,2/seed10", merged(SETTINGS, {"seed": 10, "norm": {"name": "none", "eps": None}}))
    write_run(root, "vgg-b/seed0", {TRAINING.name: "a setting like a table", **SETTINGS, "seed": 2})
    rows: dict[Table, Any] = {
        TRAINING: training_rows([0.1 + 0.2, 5e-324, math.inf]), SHIFT: shift_rows([-0.0, math.nan]), EMPTY: []
    }  # fmt: skip
    write_run(root, "dln/seed0", merged(SETTINGS, DLN), rows=rows, state="diverged")
    write_run(root, "dln/seed1", state="running")
    for path in root.rglob("status.json"):
        path.write_text(json.dumps(json.loads(path.read_text()) | {"step": 5, "seconds": 2.5}))
    return root


def same(one: Runs, two: Runs) -> None:
    pd.testing.assert_frame_equal(one.settings, two.settings, check_exact=True)
    assert set(one) == set(two)
    assert one.schemas == two.schemas
    for table in one:
        pd.testing.assert_frame_equal(one[table], two[table], check_exact=True)


def test_commands_do_not_say_where_the_runs_lay(tmp_path: Path) -> None:
    said = {"command": "scripts/train.py seed=0 'measure=[shift]' 'runs=/home/ada/my runs'", "data_label": "digits"}
    (write_run(tmp_path / "runs", "one") / "provenance.json").write_text(json.dumps(said))
    pack(tmp_path / "runs", tmp_path / "packed")
    (run,) = find_runs(tmp_path / "packed")
    assert run.provenance() == {"command": "scripts/train.py seed=0 'measure=[shift]'", "data_label": "digits"}


@pytest.mark.filterwarnings("ignore:1 of 5 runs", "ignore:1 of 2 runs")
@pytest.mark.parametrize("place", ["", "vgg", "vgg/w=1,2/seed0", "dln"])
def test_both_forms_give_the_same(folders: Path, tmp_path: Path, place: str) -> None:
    home = tmp_path / "packed"
    pack(folders, home)
    same(load_runs(folders / place), load_runs(home / place))
    old = [run for run in find_runs(folders / place) if run.finished]
    new = find_runs(home / place)
    assert [run.name for run in new] == [run.name for run in old]
    for one, two in zip(new, old, strict=True):
        assert (one.settings(), one.provenance(), one.tables()) == (two.settings(), two.provenance(), two.tables())
    assert finished_paces(home / place) == finished_paces(folders / place)
    shutil.rmtree(folders / "dln" / "seed1")
    if place != "dln":
        pd.testing.assert_frame_equal(run_states(home), run_states(folders))


@pytest.mark.filterwarnings("ignore:1 of")
def test_runs_can_be_added_and_the_bytes_are_those_of_packing_all_at_once(folders: Path, tmp_path: Path) -> None:
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    files = pack(folders, whole)
    assert {path.name for path in files} == {
        "runs.csv", "tables.json", "training.csv.gz", "shift.csv.gz", "events.csv.gz"
    }  # fmt: skip
    first = tmp_path / "first"
    shutil.copytree(folders / "dln", first / "dln")
    pack(first, parts)
    for name in ("vgg", "vgg-b"):
        pack(folders / name, parts / name)
    pack(whole, parts)  # what is there already changes nothing
    for path in files:
        assert (parts / path.name).read_bytes() == path.read_bytes()
    text = gzip.decompress((whole / "training.csv.gz").read_bytes()).decode()
    assert text.splitlines()[:2] == ["run,step,epoch,loss,accuracy,lr", "dln/seed0,0,0,0.30000000000000004,0.5,0.1"]
    assert text.endswith("vgg-b/seed0,1,0,0.25,0.5,0.1\n")


def test_marks_and_blank_lines_of_editors_are_read_and_runs_are_not_packed_into_themselves(
    folders: Path, tmp_path: Path
) -> None:
    packed = tmp_path / "packed"
    pack(folders, packed)
    path = packed / "runs.csv"
    path.write_text(f"\ufeff{path.read_text(encoding='utf-8')}\n", encoding="utf-8")
    assert {run.name for run in find_runs(packed)} == {run.name for run in find_runs(folders) if run.finished}
    (tmp_path / "packed/vgg").mkdir()
    for source, target in ((folders, folders), (folders, folders / "packed"), (packed, packed / "vgg")):
        with pytest.raises(UserError, match="would hold runs twice"):
            pack(source, target)
    before = {path.name: path.read_bytes() for path in packed.glob("*.gz")}
    pack(packed, packed)  # anew
    assert before == {path.name: path.read_bytes() for path in packed.glob("*.gz")}


@pytest.mark.filterwarnings("ignore:1 of")
def test_another_run_of_the_same_name_is_refused_unless_told(
    folders: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main = program("pack")
    home = tmp_path / "packed"
    assert main([str(folders), str(home)]) == 0
    shutil.rmtree(folders / "vgg-b" / "seed0")
    write_run(folders, "vgg-b/seed0", rows={TRAINING: training_rows([7.0])})
    before = {path: path.read_bytes() for path in home.iterdir()}
    assert main([str(folders), str(home)]) == 2
    assert "other runs under the names of 1 of these, such as vgg-b/seed0; --overwrite" in capsys.readouterr().err
    assert {path: path.read_bytes() for path in home.iterdir()} == before
    assert main([str(folders), str(home), "--overwrite"]) == 0
    same(load_runs(folders), load_runs(home))
    write_run(tmp_path / "other", rows={Table("shift", SHIFT.columns[:-2], SHIFT.key): []})
    assert main([str(tmp_path / "other"), str(home)]) == 2
    assert "shift.csv.gz and " in (told := capsys.readouterr().err) and "do not go together" in told


@pytest.mark.filterwarnings("ignore:1 of")
@pytest.mark.parametrize("place", ["a run", "inside a run", "a folder with a file of such a name", "over its folder"])
def test_what_is_there_is_neither_replaced_nor_hidden(place: str, folders: Path, tmp_path: Path) -> None:
    target, taken = tmp_path / "target", tmp_path / "target"
    if place.endswith("a run"):
        write_run(tmp_path, "target")
        target = target / "below" if place.startswith("inside") else target
    elif place == "over its folder":
        taken = write_run(target, "dln/seed0")
    else:
        target.mkdir()
        (taken := target / "training.csv.gz").write_text("mine")
    before = {path: path.read_bytes() for path in tmp_path.rglob("*.*")}
    with pytest.raises(UserError, match=f"{taken} is there already, and does not belong to a packed folder; pack into"):
        pack(folders, target, overwrite=True)
    assert {path: path.read_bytes() for path in tmp_path.rglob("*.*")} == before


@pytest.mark.filterwarnings("ignore:1 of")
def test_a_full_disk_leaves_a_packed_folder_as_it_was(
    folders: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "packed"
    pack(folders, home)
    before = {path: path.read_bytes() for path in home.iterdir()}
    write_run(tmp_path / "more", "new/seed0")
    whole, written = files.write_beside, list[Path]()

    def full(path: Path, content: bytes) -> Path:
        written.append(path)
        if len(written) == 4:
            raise OSError(errno.ENOSPC, "No space left on device", str(path))
        return whole(path, content)

    monkeypatch.setattr(files, "write_beside", full)
    with pytest.raises(OSError, match="No space left"):
        pack(tmp_path / "more", home)
    assert {path: path.read_bytes() for path in home.iterdir()} == before
    pack(tmp_path / "more", home)
    assert "new/seed0" in set(load_runs(home).settings["run"])


@pytest.mark.filterwarnings("ignore:1 of")
def test_run_folders_beside_packed_runs_are_read_with_them(folders: Path, tmp_path: Path) -> None:
    home = tmp_path / "packed"
    pack(folders, home)
    write_run(home, "fig/seed0", rows={TRAINING: training_rows([9.0])})
    runs = load_runs(tmp_path / "packed")
    assert runs["training"]["run"].unique().tolist() == runs.settings["run"].tolist()
    assert runs.settings["run"].tolist() == [
        "dln/seed0",
        "fig/seed0",
        "vgg/w=1,2/seed0",
        "vgg/w=1,2/seed10",
        "vgg-b/seed0",
    ]
    assert runs["training"]["loss"].tolist()[3] == 9.0
    write_run(home, "dln/seed0")
    with pytest.raises(UserError, match="dln/seed0: the run is packed in .*, and has a folder; delete one of them"):
        load_runs(home)


@pytest.mark.filterwarnings("ignore:1 of")
def test_damage_to_a_packed_table_is_told_when_it_is_read(folders: Path, tmp_path: Path) -> None:
    home = tmp_path / "packed"
    pack(folders, home)
    path = home / "training.csv.gz"
    whole = gzip.decompress(path.read_bytes())
    for damaged, problem in (
        (path.read_bytes()[:-9], "training.csv.gz: damaged"),
        (gzip.compress(whole[: whole.rindex(b"\n", 0, -1) + 1]), "run vgg-b/seed0 has 1 rows; 2 were packed"),
        (gzip.compress(whole.replace(b",lr", b",rate", 1)), "has the columns run, step, .*rate, not run, step, .*lr"),
        (gzip.compress(whole.replace(b"0.5", b"half", 1)), "training.csv.gz: damaged"),
    ):
        path.write_bytes(damaged)
        runs = load_runs(home)
        assert len(runs["shift"]) == 16
        with pytest.raises(UserError, match=problem):
            runs["training"]
    text = (home / "runs.csv").read_text()
    last = text.splitlines()[-1]
    for damaged_text, problem in (
        (text[:-30], r"runs.csv:\d+: \d+ values instead of"),
        ("", "runs.csv:1: not a line"),
        (f"{text}\n{last}\n", r"runs.csv:7: a second row for vgg-b/seed0; delete one"),
        (text.replace(",", ";"), "runs.csv:1: values are separated by ';', as a spreadsheet"),
    ):
        (home / "runs.csv").write_text(damaged_text)
        with pytest.raises(UserError, match=problem):
            load_runs(home)
    (home / "runs.csv").write_text(text.removesuffix(f"{last}\n"))
    with pytest.raises(UserError, match=r"shift.csv.gz: has rows of vgg-b/seed0, a run that runs.csv does not list"):
        load_runs(home / "vgg")["shift"]
    (home / "runs.csv").write_text(text)
    schemas = json.loads((home / "tables.json").read_text())
    (home / "tables.json").write_text(json.dumps([table for table in schemas if table["name"] != "shift"]))
    with pytest.raises(UserError, match="status.json counts rows of 'shift', a table that tables.json does not list"):
        load_runs(home)


@pytest.mark.parametrize(
    "value", ["vgg", "", "0.1", "null", "[1", "NaN", 'a"b,\n', " x", 1, 0.1, 1e-7, True, None, (1, ("x", 2.5)), ()]
)
def test_a_cell_keeps_its_value_and_type(value: Any) -> None:
    back = from_cell(to_cell(value))
    assert (back, type(back)) == (value, type(value))
    assert to_cell(value) != ""
