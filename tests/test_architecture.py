"""The directions of imports, and the promises of the folder names."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest
from made_up_paper import copies

ICS = Path(__file__).parents[1] / "ics"

# package → the packages of the project it may import
MAY_IMPORT = {
    "files": set(),
    "program": {"errors"},
    "shift": set(),
    "nets": {"registry", "errors"},
    "data": {"registry", "errors", "files"},
    "quantities": {"shift", "registry", "errors", "tables", "nets"},
    "laboratory": {"nets", "quantities", "shift", "registry", "errors", "tables"},
    "laboratory/figures": {"analysis", "figures", "errors", "files", "tables"},
    "runs": {"data", "laboratory", "nets", "quantities", "shift", "registry", "errors", "files", "folder", "tables"},
    "analysis": {"errors", "files", "folder", "processes", "tables"},
    "figures": {"analysis", "errors", "files", "processes", "tables"},
    "report": {"analysis", "figures", "errors", "files", "folder", "processes", "tables"},
    "integrations": {"shift"},
    "processes": {"errors"},
    "registry": {"errors"},
    "folder": {"errors", "tables"},
    "tables": {"errors"},
    "errors": set(),
}


def imports(path: Path) -> set[str]:
    """The parts of the project that a file imports."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return {name.split(".")[1] for name in found if name.startswith("ics.")}


def test_every_package_has_its_rule() -> None:
    parts = {path.stem for path in ICS.iterdir() if path.name != "__init__.py" and not path.name.startswith("__")}
    assert parts == {package for package in MAY_IMPORT if "/" not in package}


@pytest.mark.parametrize("package", MAY_IMPORT)
def test_imports_go_one_way(package: str) -> None:
    inner = {ICS / other for other in MAY_IMPORT if other.startswith(f"{package}/")}
    files = [ICS / f"{package}.py"] if (ICS / f"{package}.py").exists() else (ICS / package).rglob("*.py")
    for path in (path for path in files if path.parent not in inner):
        assert imports(path) <= MAY_IMPORT[package] | {package.partition("/")[0]}, path


def test_only_the_scripts_and_the_sweeper_know_hydra() -> None:
    for path in ICS.rglob("*.py"):
        text = path.read_text()
        assert "import hydra" not in text, path
        assert "omegaconf" not in text, path


def python(code: str) -> None:
    subprocess.run([sys.executable, "-c", code], cwd=ICS.parent, check=True)


def test_reading_results_needs_no_torch(tmp_path: Path) -> None:
    """Neither at the import of any part of it, nor while programs work."""
    copies(tmp_path / "runs", "vgg", seeds=(0, 1), rates=[0.1], arms=("none", "batch"), last_step=1000)
    rooms = [ICS / room for room in ("analysis", "figures", "report", "laboratory/figures")]
    parts = [path.relative_to(ICS.parent).with_suffix("") for room in rooms for path in sorted(room.rglob("*.py"))]
    where = ["--runs", str(tmp_path / "runs"), "--out", str(tmp_path)]
    python(f"""
import importlib, runpy, sys
for part in {[".".join(part.parts).removesuffix(".__init__") for part in parts]}:
    importlib.import_module(part)
for script, words in (("figures", ["fig3a"]), ("claims", [])):
    assert runpy.run_path(f"scripts/{{script}}.py")["main"]([*words, *{where}]) == 0
assert "torch" not in sys.modules
""")
    assert {path.suffix for path in tmp_path.iterdir()} >= {".png", ".csv"}


def test_the_probe_needs_only_torch_and_every_public_name_is_importable() -> None:
    python("""
import sys, ics.shift
assert not {"pandas", "hydra", "torchvision", "pydantic"} & set(sys.modules)
assert set(dir(ics)) == set(ics.__all__)
for name in ics.__all__:
    getattr(ics, name)
""")
