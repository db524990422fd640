"""The figures of the batch-normalisation laboratory, from made-up numbers that must be found in them again."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from figure_tools import ends, lines, saved, sheet, sheets
from made_up_runs import EVALUATION, SETTINGS, SHIFT, filled, merged, shift_row, write_run

from ics.analysis.load import Runs, load_runs
from ics.figures.style import COLOURS
from ics.laboratory.figures import init_scale
from ics.laboratory.running_stats import RunningStats
from ics.laboratory.train_eval_gap import TrainEvalGap
from ics.quantities.activations import Activations

STEPS = [0, 20, 40, 60, 80, 100]
LEVEL = {"none": 1.0, "batch": 0.25}  # by which the norms' made-up numbers differ
FIGURES_OF_THE_LAB = ("mnist_mlp", "init_scale", "ioffe_szegedy", "running_stats")


def evaluation(level: float) -> list[dict[str, Any]]:
    numbers = {step: (level * (2 - step / 100), 0.9 - level * 0.1 * (1 - step / 200)) for step in STEPS}
    return [
        {"step": step, "split": split, "loss": loss, "accuracy": accuracy}
        for step, (loss, accuracy) in numbers.items()
        for split in ("test", "train")
    ]


def shift(l2: Iterable[float], layers: tuple[int, ...]) -> list[dict[str, Any]]:
    rows = [shift_row(step, layer, value, 0.75) for step, value in zip(STEPS, l2, strict=True) for layer in layers]
    return [row | {"layer": f"fc{row['layer_index']}"} for row in rows]


def activations(level: float) -> list[dict[str, Any]]:
    key = {"layer_index": 3, "layer": "fc3", "p15": -level}
    return [
        filled(Activations.table, 0.0, step=step, unit=unit, **key, p50=step / 100 * level, p85=level + unit)
        for step in STEPS
        for unit in (-1, 0, 1)
    ]


def statistics(momentum: float) -> list[dict[str, Any]]:
    table, distance = RunningStats.table, 1 - momentum
    return [
        filled(table, 0.5, step=step, layer=name, running_var_mean=1 + momentum * step, mean_distance=distance)
        for step in STEPS
        for name in ("norm1", "norm2")
    ]


def gap(momentum: float) -> list[dict[str, Any]]:
    rows = []
    for step in STEPS:
        for size in (1, 4, 16):
            accuracy = 0.1 + 0.05 * size if step >= 50 else 0.0
            rows.append({"statistics": "batch", "batch_size": size, "accuracy": accuracy, "loss": 3 / size})
        rows.append({"statistics": "running", "batch_size": 16, "accuracy": 0.92, "loss": 3 / 16 + 1 - momentum})
        for row in rows[-4:]:
            row["step"] = step
    return rows


def settings(experiment: str, seed: int, **changes: Any) -> dict[str, Any]:
    model = {"name": "mlp", "hidden": [100], "depth": None, "width": None, "head": None}
    own = {"experiment": experiment, "seed": seed, "steps": 100, "model": model}
    return merged(SETTINGS, own, {"measure": {"shift": {"every": 20}}}, changes)


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Runs:
    root = tmp_path_factory.mktemp("runs")
    for seed in (0, 1, 2):
        factor = 1 + 0.1 * (seed - 1)  # the median over the seeds is seed 1's
        for norm, level in LEVEL.items():
            ours = {"norm": {"name": norm, "eps": None}}
            plain = {EVALUATION: evaluation(level * factor), SHIFT: shift([level * factor] * 6, (1, 2, 3))}
            write_run(root, f"mnist_mlp/{norm}/seed{seed}", settings("mnist_mlp", seed, **ours), plain)
            both = plain | {Activations.table: activations(level * factor)}
            write_run(root, f"ioffe_szegedy/{norm}/seed{seed}", settings("ioffe_szegedy", seed, **ours), both)
            for i, std in enumerate((1.0, 0.1, 0.01)):
                dead = [0.0] * 6 if std == 0.01 and norm == "none" else [level * factor * 10**-i] * 6
                rows = {EVALUATION: evaluation(level * factor), SHIFT: shift(dead, (1, 2, 3))}
                changes = ours | {"model": {"init": {"name": "normal", "std": std}}, "data": {"limit": 100}}
                name = f"init_scale/{norm}_{std}/seed{seed}"
                write_run(root, name, settings("init_scale", seed, **changes), rows)
        for momentum in (0.1, 1.0):
            rows = {RunningStats.table: statistics(momentum), TrainEvalGap.table: gap(momentum)}
            changes = {"norm": {"name": "batch", "eps": None, "momentum": momentum}}
            name = f"running_stats/{momentum}/seed{seed}"
            write_run(root, name, settings("running_stats", seed, **changes), rows)
    return load_runs(root)


STANDARD, BATCH = COLOURS["standard"], COLOURS["batch"]


@pytest.mark.parametrize("name", FIGURES_OF_THE_LAB)
def test_each_is_drawn_under_a_name_that_says_the_data(lab: Runs, tmp_path: Path, name: str) -> None:
    files = saved(name, lab, tmp_path)
    stems = {name, "init_scale_shift"} if name == "init_scale" else {name}
    assert {path.stem for path in files} == {f"{stem}_digits" for stem in stems}
    assert all(path.stat().st_size > 10_000 for path in files)


def test_mnist_mlp(lab: Runs) -> None:
    loss, accuracy, *pairs = sheet("mnist_mlp", lab).axes
    assert ends(loss, STANDARD) == pytest.approx([1, 1])  # train and test
    assert ends(loss, BATCH) == pytest.approx([0.25, 0.25])
    assert ends(accuracy, STANDARD) == pytest.approx([85, 85])
    assert {line.is_dashed() for line in loss.get_lines()} == {True, False}
    assert min(accuracy.get_lines()[0].get_xdata()) == 20  # not the untrained network
    assert [axes.get_title() for axes in pairs[::2]] == ["Layer #2, fc2", "Layer #3, fc3"]
    for axes in pairs[::2]:
        assert ends(axes, STANDARD) == pytest.approx([1])
        assert ends(axes, BATCH) == pytest.approx([0.25])
    assert ends(pairs[1], BATCH) == pytest.approx([0.25])  # 1 − cosine


def test_init_scale(lab: Runs) -> None:
    figure = sheets("init_scale", lab)["init_scale_digits"]
    assert [axes.get_title() for axes in figure.axes] == ["std 1", "std 0.1", "std 0.01"]
    for axes in figure.axes:
        assert ends(axes, STANDARD) == pytest.approx([85])
        assert ends(axes, BATCH) == pytest.approx([88.75])
        dashed = {str(line.get_color()): line.is_dashed() for line in axes.get_lines()}
        assert dashed == {STANDARD: True, BATCH: False}


def test_init_scale_shift_says_where_there_is_none(lab: Runs) -> None:
    figure = sheets("init_scale", lab)["init_scale_shift_digits"]
    assert figure.words[0].startswith("Covariate shift of Layer #2, fc2")
    assert [ends(axes, BATCH) for axes in figure.axes] == [pytest.approx([0.25 * 10.0**-i]) for i in range(3)]
    assert [[text.get_text() for text in axes.texts] for axes in figure.axes] == [[], [], ["standard: 0"]]


def test_powers_are_bounds() -> None:
    assert [init_scale._bound(value) for value in (3e-9, 2e4, 0.5)] == ["10⁻⁸", "10⁴", "10⁰"]


def test_ioffe_szegedy(lab: Runs) -> None:
    accuracy, standard, batch, l2, relative, turn = sheet("ioffe_szegedy", lab).axes
    assert ends(accuracy, BATCH) == pytest.approx([88.75])
    assert ends(standard, STANDARD) == pytest.approx([-0.9, 0.9, 0.9])  # the first seed's, unit 0's
    assert ends(batch, BATCH) == pytest.approx([-0.225, 0.225, 0.225])
    assert ends(l2, BATCH) == pytest.approx([0.25])
    assert ends(relative, STANDARD) == pytest.approx([0.5])
    assert ends(turn, STANDARD) == pytest.approx([0.25])
    assert standard.get_ylim() == batch.get_ylim()


def test_running_stats(lab: Runs) -> None:
    errors, lag, variance, distance = sheet("running_stats", lab).axes
    sizes, *running = errors.get_lines()
    assert list(sizes.get_xdata()) == [1, 4, 16]
    assert list(sizes.get_ydata()) == pytest.approx([85, 70, 10])  # of the second half alone
    assert [line.get_ydata()[0] for line in running] == pytest.approx([8, 8])
    assert [y[-1] for y in lines(lag)] == pytest.approx([0, 0.9, 0])
    assert [y[-1] for y in lines(variance)] == pytest.approx([11, 101])
    assert [y[-1] for y in lines(distance)] == pytest.approx([0.9, 0])
