"""Every config file composes, and what it asks for can be built; the command line as a user meets it."""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf
from programs import ROOT, SMALL, Program, python, train
from small_runs import PATIENCE, wait_for

from hydra_plugins.ics_words import hydra_word
from ics import load_runs, nets
from ics.data import DATASETS
from ics.quantities import QUANTITIES
from ics.runs.config import RunConfig, parse
from ics.runs.losses import cross_entropy
from ics.runs.optimizers import OPTIMIZERS

CONF = ROOT / "conf"
GROUPS = {
    group: sorted(path.stem for path in (CONF / group).glob("*.yaml"))
    for group in ("model", "norm", "data", "optimizer", "measure")
}
EXPERIMENTS = sorted(path.stem for path in (CONF / "experiment").glob("*.yaml"))
OWN = {
    "model": ["model.name=mlp", "data=digits"],
    "norm": ["norm.name=layer"],
    "data": ["data.name=digits", "model=mlp"],
}
SHAPES = {"gaussian": (10,), "mnist": (1, 28, 28), "digits": (1, 8, 8)}


def composed(*overrides: str) -> dict[str, Any]:
    with initialize_config_dir(str(CONF), version_base="1.3"):
        config = compose("train", list(map(hydra_word, overrides)))
    settings: Any = OmegaConf.to_container(config, resolve=True)
    return {key: value for key, value in settings.items() if key not in ("runs", "overwrite", "plan")}


def build(config: RunConfig) -> None:
    """Build all but the data, which may not be here."""
    data = config.data["name"]
    assert data in list(DATASETS)
    size = config.data.get("size", 8)
    shape = SHAPES.get(data, (3, 32, 32)) if data != "digits" else (1, size, size)
    model = nets.build(config.model, config.norm, shape, 10, config.seed)
    OPTIMIZERS.build(config.optimizer, parameters=model.parameters())
    for name, schedule in config.measure.items():
        chosen = schedule.options
        QUANTITIES.build({"name": chosen.pop("quantity", name), **chosen}, model=model, loss_fn=cross_entropy).close()


@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_every_experiment_starts_with_its_command_composes_and_can_be_built(experiment: str) -> None:
    first, second = (CONF / "experiment" / f"{experiment}.yaml").read_text().splitlines()[:2]
    assert first == "# @package _global_"
    assert re.match(rf"# python scripts/train\.py( -m)? experiment={experiment}\b", second)
    build(parse(composed(f"experiment={experiment}")))


@pytest.mark.parametrize(
    ("group", "option"), [(group, option) for group, options in GROUPS.items() for option in options]
)
def test_every_option_composes_and_can_be_built(group: str, option: str) -> None:
    extra = {"vgg": ["data=cifar10"], "deep_linear": ["data=gaussian"], "mlp": ["data=mnist"]}
    extra["dln"] = ["model=deep_linear", "data=gaussian"]
    default = ["model=mlp", "data=digits"] if group in ("norm", "optimizer") else []
    fitting = next((words for name, words in extra.items() if option.startswith(name)), [])
    model = {"mnist": ["model=mlp"], "digits": ["model=mlp"], "gaussian": ["model=deep_linear"]}.get(option, [])
    root = ["data.root=x"] if option == "image_folder" else []
    own = OWN[group] if option == "own" else []
    build(parse(composed(*default, *fitting, *model, f"{group}={option}", *root, *own)))


@pytest.mark.parametrize("experiment", [name for name in EXPERIMENTS if not name.startswith("fingerprint")])
def test_every_experiment_can_measure_something_else(experiment: str) -> None:
    parse(composed(f"experiment={experiment}", "measure=histogram"))


# --- the command line --------------------------------------------------------------------------------------------


def test_a_run_a_sweep_and_a_plan(tmp_path: Path) -> None:
    runs = f"runs={tmp_path}"
    command = [sys.executable, "scripts/train.py", *SMALL, "norm=batch", runs]  # a process that a user starts
    one = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert one.returncode == 0, one.stderr
    assert one.stdout.startswith("done: ")

    sweep = train("-m", "norm=none,batch", "optimizer.lr=0.1", "seed=0", runs)
    assert sweep.returncode == 0, sweep.stderr
    assert "2 runs, 1 of them finished already" in sweep.stderr
    assert sweep.stderr.splitlines()[-1] == "2 done"
    assert sorted(load_runs(tmp_path).settings["norm.name"]) == ["batch", "none"]

    plan = train("-m", "norm=none,batch", "optimizer.lr=0.1", "seed=0,1", "plan=true", runs)
    assert plan.returncode == 0
    assert "4 runs, 2 to do" in plan.stdout
    assert plan.stdout.count("done, step 2 of 2") == 2


@pytest.mark.parametrize(("signum", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_stops_the_program_with_the_usual_code(signum: int, code: int, tmp_path: Path) -> None:
    process = Program("scripts/train.py", *SMALL, "steps=10000000", f"runs={tmp_path}")
    wait_for(lambda: any(tmp_path.rglob("training.csv")) or not process.running, PATIENCE)
    os.kill(process.process, signum)
    stopped = process.done()
    assert stopped.returncode == code, stopped.stderr
    assert "the same command goes on from here" in stopped.stderr
    assert list(tmp_path.rglob("checkpoint.pt"))


@pytest.mark.parametrize("words", ["seed=range(3,0)", "norm=glob(zz*)"])
def test_a_sweep_over_nothing_is_refused(words: str, tmp_path: Path) -> None:
    done = train("-m", "data=digits", "model=mlp", f"runs={tmp_path}", words)
    assert (done.returncode, done.stderr) == (2, f"error: {words}: a sweep over nothing; give it a value\n")


def test_every_experiment_of_a_sweep_brings_its_own_grid(tmp_path: Path) -> None:
    options = {"model": "mlp", "data": "digits", "measure": "none"}
    defaults = [{f"override /{group}": option} for group, option in options.items()]
    grids = {"one": "norm: [none, batch], seed: '0,1'", "two": "batch_size: [null, 8], optimizer.lr: 0.5"}
    (tmp_path / "experiment").mkdir()
    for name, grid in grids.items():
        params = yaml.safe_load(f"{{{grid}}}")
        config = {"defaults": defaults, "experiment": name, "hydra": {"sweeper": {"params": params}}}
        (tmp_path / "experiment" / f"{name}.yaml").write_text("# @package _global_\n" + yaml.safe_dump(config))
    program, words = ["scripts/train.py", "--config-dir", str(tmp_path)], [f"runs={tmp_path / 'runs'}", "plan=true"]
    plan = python(*program, "-m", *words, "experiment=one,two")
    assert plan.returncode == 0, plan.stderr
    names = [line.partition("  ")[0].removeprefix(f"{tmp_path}/runs/") for line in plan.stdout.splitlines()]
    one = [f"one/mlp_digits_{norm}_lr0.1/seed{seed}" for norm in ("none", "batch") for seed in (0, 1)]
    two = [f"two/mlp_digits_none_lr0.5_batch_size={size}/seed0" for size in ("null", "8")]
    assert names[:6] == one + two
    assert plan.stdout.splitlines()[6] == "6 runs, 6 to do"

    alone = python(*program, *words, "experiment=one", "seed=0")
    assert alone.stdout == f"{tmp_path}/runs/one/mlp_digits_none_lr0.1/seed0\n"
    assert alone.stderr == "one run of a grid; with -m it is all of norm=['none', 'batch']\n"
