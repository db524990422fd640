"""What is declared is what is imported, and a wheel works where there is no checkout."""

import ast
import os
import re
import subprocess
import sys
import tomllib
import zipfile
from functools import cache
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
from made_up_runs import write_run

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
OWN = {"ics", "hydra_plugins", "benchmarks", "examples", *(path.stem for path in (ROOT / "tests").iterdir())}

# Never imported: Hydra finds the launchers by name, the others are programs.
NOT_IMPORTED = {
    "hydra-joblib-launcher", "hydra-submitit-launcher", "hydra-ray-launcher", "ray",
    "pytest-xdist", "ruff", "mypy", "pandas-stubs", "types-tqdm", "types-pyyaml", "hatchling",
}  # fmt: skip

# folder → the extras that its imports may come from
EXTRAS = {
    "ics": ["report", "lightning", "transformers"],
    "scripts": ["report"],
    "hydra_plugins": ["sweep"],
    "examples": [],
    "benchmarks": [],
    "tests": ["report", "dev", "integrations"],
}


def declared(extra: str | None = None) -> set[str]:
    """The names of required distributions, as the index spells them."""
    wanted = PROJECT["optional-dependencies"][extra] if extra else PROJECT["dependencies"]
    return {re.split(r"[><=\[; ]", requirement)[0].lower() for requirement in wanted}


@cache
def imported(folder: str) -> set[str]:
    """The distributions that a folder's files import, anywhere in them."""
    modules = set()
    for path in (ROOT / folder).rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            match node:
                case ast.Import(names=names):
                    modules |= {alias.name.split(".")[0] for alias in names}
                case ast.ImportFrom(module=str(module), level=0):
                    modules.add(module.split(".")[0])
                case ast.Call(func=ast.Name(id="needed"), args=[ast.Constant(value=str(module))]):  # of ics.report
                    modules.add(module)
    known = packages_distributions()
    return {known.get(module, [module])[0].lower() for module in modules - sys.stdlib_module_names - OWN}


@pytest.mark.parametrize("folder", EXTRAS)
def test_what_is_imported_is_declared(folder: str) -> None:
    assert imported(folder) <= declared().union(*map(declared, EXTRAS[folder]))


def test_what_is_declared_is_imported() -> None:
    everything = declared().union(*map(declared, PROJECT["optional-dependencies"]))
    assert everything - NOT_IMPORTED == set().union(*map(imported, EXTRAS)) & everything
    of_files = {"scikit-learn"}  # its digits are read, it is not imported
    assert declared() - NOT_IMPORTED - of_files <= imported("ics") | imported("hydra_plugins")
    assert everything >= NOT_IMPORTED


def test_a_wheel_works_in_an_empty_folder(tmp_path: Path) -> None:
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", tmp_path / "dist"]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
    (wheel,) = (tmp_path / "dist").iterdir()
    assert wheel.name.startswith("ics_shift-")
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        archive.extractall(tmp_path / "site")
    assert {"ics/analysis/paper_data/figures.csv", "ics/report/assets/report.html.j2"} <= set(names)
    assert [name for name in names if name.endswith(".dist-info/licenses/LICENSE")]
    assert {name.split("/")[0] for name in names if ".dist-info" not in name} == {"ics", "hydra_plugins"}
    assert not [name for name in names if "__pycache__" in name]
    write_run(tmp_path / "runs")
    code = f"""
import ics, torch
from ics.analysis import paper_curves
assert ics.__file__.startswith({str(tmp_path)!r})
assert len(ics.load_runs("runs")["shift"]) == 4
assert len(paper_curves("3a")) > 100
model = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.Linear(4, 2))
x, y, loss_fn = torch.randn(8, 3), torch.randint(2, (8,)), torch.nn.CrossEntropyLoss()
probe = ics.ShiftProbe(model, loss_fn)
loss_fn(model(x), y).backward()
with probe.observe(x, y) as shift:
    torch.optim.SGD(model.parameters(), lr=0.1).step()
assert [row.layer for row in shift.rows] == ["0", "1"]
"""
    alone = {**os.environ, "PYTHONPATH": str(tmp_path / "site")}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=alone, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
