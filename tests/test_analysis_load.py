"""The loader: settings joined to rows, floats to the bit, every damage named by its line."""

import csv
import json
import math
import re
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from made_up_runs import SETTINGS, SHIFT, TRAINING, merged, shift_rows, training_rows, write_run

from ics.analysis import NoRuns, load_runs
from ics.analysis.read import read_table
from ics.errors import UserError
from ics.tables import Table, columns


def test_every_row_carries_the_settings_of_its_run(tmp_path: Path) -> None:
    write_run(tmp_path, "vgg/none/seed0", merged(SETTINGS, {"norm": {"name": "none", "eps": None}}))
    write_run(tmp_path, "vgg/batch/seed1", merged(SETTINGS, {"seed": 1}), data_label="digits-32")
    runs = load_runs(tmp_path)
    assert set(runs) == {"training", "shift"}
    assert list(runs.settings["run"]) == ["vgg/batch/seed1", "vgg/none/seed0"]
    shift = runs["shift"]
    assert len(shift) == 8
    assert list(shift.columns[: len(SHIFT.header) + 1]) == ["run", *SHIFT.header]
    one = shift[(shift["norm.name"] == "batch") & (shift["seed"] == 1)]
    assert one["l2"].tolist() == [1.0, 1.0, 2.0, 2.0]
    assert set(one["data_label"]) == {"digits-32"}
    assert set(shift["status"]) == {"done"}
    assert dict(zip(shift["norm.name"], shift["arm"], strict=True)) == {"batch": "batch", "none": "standard"}
    assert shift["optimizer.lr"].dtype == "float64"
    assert shift["norm.eps"].isna().sum() == 4
    assert set(shift["model.head"]) == {(512, 512)}
    assert runs["training"] is runs["training"]
    assert runs.schemas["shift"] == SHIFT


def test_schemas_come_back_from_their_file(tmp_path: Path) -> None:
    write_run(tmp_path, "a/seed0", SETTINGS)
    assert load_runs(tmp_path).schemas == {TRAINING.name: TRAINING, SHIFT.name: SHIFT}


def test_floats_come_back_to_the_bit(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    values = rng.integers(0, 2**64, 2000, dtype="uint64").view("float64")
    values = values[np.isfinite(values)]
    special = [float("nan"), float("inf"), float("-inf"), -0.0, 5e-324, 0.1]
    rows = shift_rows(values, [special[i % len(special)] for i in range(len(values))], layers=[3])
    write_run(tmp_path, rows={SHIFT: rows})
    shift = load_runs(tmp_path)["shift"]
    assert np.array_equal(shift["l2"].to_numpy().view("uint64"), values.view("uint64"))
    cosine = np.array([row["cosine"] for row in rows])
    assert np.array_equal(shift["cosine"], cosine, equal_nan=True)
    assert np.array_equal(np.signbit(shift["cosine"][~shift["cosine"].isna()]), np.signbit(cosine[~np.isnan(cosine)]))


def test_only_the_tables_asked_for_are_read(tmp_path: Path) -> None:
    folder = write_run(tmp_path)
    (folder / "shift.csv").write_text("damaged")
    assert (
        list(load_runs(tmp_path, tables=["training"])) == list(load_runs(tmp_path, tables="training")) == ["training"]
    )
    for wanted in (["sharpness"], "sharpness"):
        with pytest.raises(UserError, match="no run in .* has a table 'sharpness'; there are training, .*shift"):
            load_runs(tmp_path, tables=wanted)
    write_run(tmp_path, "other")
    assert len(load_runs(tmp_path, tables=(name for name in ["training"]))["training"]) == 4
    with pytest.raises(KeyError, match="no table 'sharpness'; there are training"):
        load_runs(tmp_path, tables="training")["sharpness"]


def test_a_run_can_be_the_root_and_hidden_folders_are_no_runs(tmp_path: Path) -> None:
    folder = write_run(tmp_path)
    for name in (".hydra", "checkpoints"):
        (folder / name).mkdir()
        (folder / name / "config.yaml").write_text("seed: 7")
    assert list(load_runs(folder).settings["run"]) == ["."]
    assert len(load_runs(tmp_path).settings) == 1


def test_a_run_inside_a_run_or_without_its_settings_is_seen(tmp_path: Path) -> None:
    write_run(tmp_path, "a")
    write_run(tmp_path, "a/b")
    assert load_runs(tmp_path).settings["run"].tolist() == ["a", "a/b"]
    for file in ("config.yaml", "status.json"):
        (tmp_path / "a/b" / file).unlink()
    with pytest.warns(UserWarning, match="1 of 2 runs left out: 1 no status"):
        load_runs(tmp_path)


def test_a_setting_never_hides_a_column_of_the_table(tmp_path: Path) -> None:
    write_run(tmp_path, settings=merged(SETTINGS, {"loss": "cross_entropy", "status": "draft"}))
    runs = load_runs(tmp_path)
    assert runs["training"]["loss"].tolist() == [0.5, 0.25]
    assert set(runs["training"]["config.loss"]) == {"cross_entropy"}
    assert set(runs["shift"]["loss"]) == {"cross_entropy"}
    assert set(runs["shift"]["config.status"]) == {"draft"}
    assert set(runs["shift"]["status"]) == {"done"}


def test_settings_keep_their_types(tmp_path: Path) -> None:
    for seed, odd in enumerate(({"a": 1, "b": True, "c": "x", "d": [1, [2]]}, {"a": 1.5, "b": False, "c": None})):
        write_run(tmp_path, f"r/seed{seed}", merged(SETTINGS, {"seed": seed, "odd": odd}))
    table = load_runs(tmp_path).settings
    assert table["odd.a"].dtype == "float64"
    assert table["odd.b"].dtype == "bool"
    assert table["odd.c"].tolist()[0] == "x"
    assert table["odd.c"].isna().tolist() == [False, True]
    assert table["odd.d"].tolist()[0] == (1, (2,))
    assert table["seed"].dtype == "int64"
    assert table["scale"].isna().all()


# ---- Finished or not ----


def test_unfinished_runs_are_left_out_and_named(tmp_path: Path) -> None:
    for seed, state in enumerate(("done", "diverged", "running", "failed", "failed")):
        write_run(tmp_path, f"r/seed{seed}", state=state)
    (write_run(tmp_path, "r/seed5") / "status.json").unlink()
    with pytest.warns(UserWarning, match="4 of 6 runs left out: 2 failed, 1 running, 1 no status"):
        runs = load_runs(tmp_path)
    assert list(runs.settings["status"]) == ["done", "diverged"]
    assert runs.skipped == {
        "r/seed2": "running",
        "r/seed3": "failed",
        "r/seed4": "failed",
        "r/seed5": "no status",
    }
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        everything = load_runs(tmp_path, include_unfinished=True)
    assert len(everything.settings) == 6
    assert everything.skipped == {}


def test_a_running_run_may_be_read_while_it_writes(tmp_path: Path) -> None:
    folder = write_run(tmp_path, state="running")
    with (folder / "training.csv").open("a") as file:
        file.write("2,0,0.1")
    (folder / "shift.csv").unlink()
    assert len(load_runs(tmp_path, include_unfinished=True)["training"]) == 2
    (folder / "training.csv").write_text("step,ep")
    assert len(load_runs(tmp_path, include_unfinished=True)["training"]) == 0
    (folder / "tables.json").unlink()
    assert list(load_runs(tmp_path, include_unfinished=True)) == []


def test_a_diverged_run_ends_with_values_that_are_not_finite(tmp_path: Path) -> None:
    rows = {TRAINING: training_rows([1.0, 2.0, math.inf]), SHIFT: shift_rows([1.0, math.nan])}
    folder = write_run(tmp_path, rows=rows, state="diverged")
    assert load_runs(tmp_path)["training"]["loss"].tolist() == [1.0, 2.0, math.inf]
    assert load_runs(tmp_path)["shift"]["l2"].isna().sum() == 2
    text = (folder / "shift.csv").read_text()
    (folder / "shift.csv").write_text(text.replace("0,5,conv5,1.0", "0,5,conv5,inf"))
    with pytest.raises(UserError, match=r"shift.csv:2: column 'l2' must be finite here, not inf"):
        load_runs(tmp_path)


def test_nothing_to_load(tmp_path: Path) -> None:
    with pytest.raises(NoRuns, match="there is no folder .*/nowhere; python scripts/train.py -m experiment=quick"):
        load_runs(tmp_path / "nowhere")
    with pytest.raises(NoRuns, match="there is no folder ~no-such-person; "):
        load_runs("~no-such-person")
    (tmp_path / "shift.csv").touch()
    with pytest.raises(NoRuns, match="shift.csv is a file, not a folder"):
        load_runs(tmp_path / "shift.csv")
    with pytest.raises(NoRuns, match="no runs in"):
        load_runs(tmp_path)
    write_run(tmp_path, state="interrupted")
    with pytest.raises(NoRuns, match=r"no finished run in .* \(1 interrupted\)"):
        load_runs(tmp_path)


# ---- Damage ----

SCORES = Table("evaluation", columns(("step", "int", ""), ("loss", "float", ""), ("accuracy", "float", "", True)))
GOOD = "step,loss,accuracy\n0,2.5,0.1\n100,2.25,nan\n200,2.0,0.5\n"


@pytest.mark.parametrize(
    ("damage", "line", "problem"),
    [
        (lambda s: s.replace(",accuracy", ""), 1, "the columns are step, loss; tables.json has step, loss, accuracy"),
        (
            lambda s: s.replace("accuracy", "accuracy,lr"),
            1,
            "the columns are step, loss, accuracy, lr; tables.json has",
        ),
        (lambda s: s.replace("loss,accuracy", "accuracy,loss"), 1, "the columns are step, accuracy, loss; tables.json"),
        (
            lambda s: s.replace("accuracy", "accuracy,loss"),
            1,
            "the columns are step, loss, accuracy, loss; tables.json",
        ),
        (lambda s: s.replace("step", ",step"), 1, "the first column is an index without a name; write the table with"),
        (lambda s: "", 1, "the file is empty; its first line should be step,loss,accuracy"),
        (lambda s: "step,lo", 1, "the last line is cut off"),
        (lambda s: s.replace("2.25", "abc"), 3, "column 'loss' holds floats, not 'abc'"),
        (lambda s: s.replace("2.25", "True"), 3, "column 'loss' holds floats, not 'True'"),
        (lambda s: s.replace("2.25", ""), 3, "column 'loss' holds floats, not ''"),
        (lambda s: s.replace("2.25", "2_5"), 3, "column 'loss' holds floats, not '2_5'"),
        (lambda s: s.replace("\n200", "\n200.0"), 4, "column 'step' holds ints, not '200.0'"),
        (lambda s: s.replace("\n200", "\n" + "9" * 30), 4, "is too large for an int"),
        (lambda s: s.replace("2.25", "nan"), 3, "column 'loss' must be finite here, not nan"),
        (lambda s: s.replace("2.25", "-inf"), 3, "column 'loss' must be finite here, not -inf"),
        (lambda s: s.replace("\n200", "\n50"), 4, "step 50 comes after step 100"),
        (lambda s: s.replace("\n200", "\n100"), 4, "a second row for step 100; the first is in line 3"),
        (lambda s: s[:-1], 4, "the last line is cut off (it does not end with a newline)"),
        (lambda s: s[:-7], 4, "the last line is cut off (it does not end with a newline)"),
        (lambda s: s.replace(",nan", ""), 3, "2 values instead of 3"),
        (lambda s: s.replace("nan", "nan,0.5"), 3, "4 values instead of 3"),
        (lambda s: s.replace("\n200", "\n\n200"), 4, "an empty line"),
        (lambda s: s.replace("2.25", "\0"), 3, r"a stray character '\x00'"),
        (lambda s: s.replace("\n100", "\r100"), 2, r"a stray character '\r'"),
        (lambda s: s.replace(",", ";").replace(".", ","), 1, "values are separated by ';', as a spreadsheet"),
        (lambda s: s.replace("2.25", '"2,25"'), 3, "column 'loss' holds floats, not '2,25' (a decimal comma"),
        (lambda s: s.replace("\n200", '\n"1,200"'), 4, "column 'step' holds ints, not '1,200' (write it without the"),
        (lambda s: s.replace("2.25", '"2.25'), 4, "not a line of CSV"),
    ],
)
def test_damage_is_named_by_file_and_line(tmp_path: Path, damage: Any, line: int, problem: str) -> None:
    folder = write_run(tmp_path, rows={SCORES: []})
    (folder / "evaluation.csv").write_text(damage(GOOD))
    with pytest.raises(UserError) as error:
        load_runs(tmp_path)
    assert f"{folder / 'evaluation.csv'}:{line}: " in str(error.value)
    assert problem in str(error.value)
    assert "\n" not in str(error.value)


def test_damage_that_is_not_text(tmp_path: Path) -> None:
    folder = write_run(tmp_path)
    (folder / "training.csv").write_bytes((folder / "training.csv").read_bytes() + b"\xff\n")
    with pytest.raises(UserError, match=r"training.csv:4: not UTF-8 text"):
        load_runs(tmp_path)
    (folder / "training.csv").unlink()
    with pytest.raises(UserError, match=r"training.csv: cannot be read \(No such file"):
        load_runs(tmp_path)


def test_a_key_of_two_columns(tmp_path: Path) -> None:
    write_run(tmp_path, rows={SHIFT: [*shift_rows([1.0, 2.0]), shift_rows([1.0, 2.0])[-1]]})
    with pytest.raises(
        UserError, match=r"shift.csv:6: a second row for step 1, layer_index 10; the first is in line 5"
    ):
        load_runs(tmp_path)


def test_what_a_spreadsheet_adds_is_read(tmp_path: Path) -> None:
    folder = write_run(tmp_path)
    plain = load_runs(tmp_path)["shift"]
    text = (folder / "shift.csv").read_text().replace("features.20", '"features.20"')
    (folder / "shift.csv").write_bytes(b"\xef\xbb\xbf" + text.replace("\n", "\r\n").encode())
    pd.testing.assert_frame_equal(load_runs(tmp_path)["shift"], plain)


@pytest.mark.parametrize(
    ("name", "text", "problem"),
    [
        ("config.yaml", "seed: [1", r"config.yaml:\d+: not valid YAML"),
        ("config.yaml", "a: 2001-02-30", "config.yaml: not valid YAML"),
        ("config.yaml", "a: &a [*a]", "config.yaml: the settings contain themselves"),
        ("config.yaml", "just text", "config.yaml: holds a str, not a dict"),
        ("config.yaml", "a: !!python/object/apply:os.system ['true']", "config.yaml:1: not valid YAML"),
        ("tables.json", "{", "tables.json:1: not valid JSON"),
        ("tables.json", "{}", "tables.json: holds a dict, not a list"),
        ("tables.json", '[{"name": "shift"}]', "tables.json: not a list of table schemas"),
        ("tables.json", "[3]", "tables.json: not a list of table schemas"),
        ("tables.json", '[{"name": "../x", "key": ["step"], "columns": []}]', "not a list of table schemas"),
        ("status.json", "", "status.json:1: not valid JSON"),
        (
            "status.json",
            '{"state": "asleep"}',
            "status.json: the state is 'asleep', not one of running, done",
        ),
        ("status.json", '{"state": "done", "steps": "many"}', "status.json: steps is 'many', not a number"),
        ("status.json", '{"state": "done", "seconds": "x"}', "status.json: seconds is 'x', not a number"),
        ("status.json", '{"state": "done", "rows": {"training": "x"}}', "status.json: rows.training is 'x', not a num"),
        ("status.json", '{"state": "done", "updated": 5}', "status.json: updated is 5, not text"),
        ("provenance.json", "[]", "provenance.json: holds a list, not a dict"),
    ],
)
def test_damaged_records_are_one_clear_line(tmp_path: Path, name: str, text: str, problem: str) -> None:
    (write_run(tmp_path) / name).write_text(text)
    with pytest.raises(UserError, match=problem) as error:
        load_runs(tmp_path)
    assert "\n" not in str(error.value)


def test_runs_of_different_versions_are_not_mixed(tmp_path: Path) -> None:
    write_run(tmp_path, "a/seed0")
    other = Table("training", columns(("step", "int", ""), ("loss", "float", "")))
    write_run(tmp_path, "b/seed0", rows={other: [{"step": 0, "loss": 1.0}]})
    with pytest.raises(
        UserError, match=r"b/seed0/training.csv: the columns step, .* and step, loss do not go together"
    ):
        load_runs(tmp_path)


def test_a_column_that_older_runs_lack_is_nan_in_their_rows(tmp_path: Path) -> None:
    old = columns(("step", "int", ""), ("x", "float", ""))
    new = (*old, *columns(("y", "float", "", True)))
    write_run(tmp_path, "a/seed0", rows={Table("t", old): [{"step": 0, "x": 1.0}]})
    write_run(tmp_path, "b/seed0", rows={Table("t", new): [{"step": 0, "x": 2.0, "y": 3.0}]})
    runs = load_runs(tmp_path)
    assert runs.schemas["t"].header == ["step", "x", "y"]
    assert runs["t"][["x", "y"]].to_csv(index=False) == "x,y\n1.0,\n2.0,3.0\n"


# ---- What is read is what Python would read ----

_TABLE = Table(
    "made_up",
    columns(("step", "int", ""), ("layer", "str", ""), ("x", "float", ""), ("y", "float", "", True)),
    ("step", "layer"),
)
_TEXT = b"step,layer,x,y\n0,a.0,1.0,nan\n0,a.1,-2.5e-07,inf\n10,a.0,3.0,0.125\n"
_EDITS = st.tuples(
    st.integers(0, len(_TEXT)),
    st.integers(0, 4),
    st.sampled_from(
        [b"", b",", b"\n", b"1", b".", b"-", b"nan", b" ", b'"', b"\r", b"\0", b"e", b"\xff", b"True", b"_"]
    ),
)


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(_EDITS, min_size=1, max_size=3), st.booleans())
def test_a_file_is_refused_or_read_as_pythons_own_reader_does(tmp_path: Path, edits: list[Any], diverged: bool) -> None:
    data = _TEXT
    for place, length, put in edits:
        data = data[:place] + put + data[place + length :]
    (tmp_path / "f.csv").write_bytes(data)
    try:
        frame = read_table(tmp_path / "f.csv", _TABLE, diverged=diverged)
    except UserError as error:
        assert re.match(r".*f\.csv:\d+: .+", str(error))
        assert data != _TEXT
        return
    header, *lines = csv.reader(data.decode().splitlines(), strict=True)
    plain = [(int(step), layer, float(x), float(y)) for step, layer, x, y in lines]
    assert header == list(frame.columns)
    pd.testing.assert_frame_equal(frame, pd.DataFrame(plain, columns=header).astype(frame.dtypes), check_exact=True)
    assert frame.dtypes.astype(str).tolist() == ["int64", "str", "float64", "float64"]
    keys = [row[:2] for row in plain]
    assert len(set(keys)) == len(keys)
    assert [step for step, _ in keys] == sorted(step for step, _ in keys)
    assert all(math.isfinite(x) or (diverged and step == keys[-1][0]) for step, _, x, _ in plain)


# ---- Nothing is dropped silently ----


def test_links_are_followed_to_each_folder_once(tmp_path: Path) -> None:
    write_run(tmp_path / "elsewhere", "a/seed0")
    root = tmp_path / "runs"
    write_run(root, "b/seed1", merged(SETTINGS, {"seed": 1}))
    (root / "away").symlink_to(tmp_path / "elsewhere")
    (root / "away_again").symlink_to(tmp_path / "elsewhere" / "a")
    (root / "b" / "loop").symlink_to(root)
    (root / "newest").symlink_to(root / "b")
    (tmp_path / "elsewhere" / "back").symlink_to(tmp_path)
    assert list(load_runs(root).settings["run"]) == ["away/a/seed0", "b/seed1"]


def test_rows_that_a_finished_run_counted_must_be_there(tmp_path: Path) -> None:
    folder = write_run(tmp_path)
    status = json.loads((folder / "status.json").read_text())
    (folder / "status.json").write_text(json.dumps(status | {"rows": {"training": 2, "shift": 4}}))
    assert len(load_runs(tmp_path)["shift"]) == 4
    text = (folder / "shift.csv").read_text().splitlines(keepends=True)
    for kept in (1, 3):
        (folder / "shift.csv").write_text("".join(text[:kept]))
        with pytest.raises(UserError, match=rf"shift.csv:{kept}: ends after {kept - 1} rows; the run counted 4"):
            load_runs(tmp_path)


@pytest.mark.filterwarnings("ignore:2 of 3 runs left out")
def test_a_damaged_run_keeps_no_other_from_being_read(tmp_path: Path) -> None:
    for seed in range(3):
        write_run(tmp_path, f"a/seed{seed}", merged(SETTINGS, {"seed": seed}))
    (tmp_path / "a/seed0/training.csv").write_text("step")
    (tmp_path / "a/seed2/status.json").write_text("{")
    with pytest.raises(UserError, match=r'seed0/training.csv:1: .*; errors="warn" reads the other 2 runs'):
        load_runs(tmp_path)
    with pytest.warns(UserWarning, match="is left out, until overwrite=true makes it anew") as told:
        runs = load_runs(tmp_path, errors="warn")
    assert [str(w.message).split("/a/")[-1].split(":")[0] for w in told][:2] == [
        "seed0/training.csv",
        "seed2/status.json",
    ]
    assert "2 of 3 runs left out: 2 unreadable" in str(told[-1].message)
    assert runs["training"]["seed"].unique().tolist() == [1]
    assert runs.skipped == {"a/seed0": "unreadable", "a/seed2": "unreadable"}
    with pytest.raises(UserError, match='errors must be "raise" or "warn", not True'):
        load_runs(tmp_path, errors=True)  # type: ignore[arg-type]
