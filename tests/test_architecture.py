"""The directions of imports, and the promises of the folder names."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ICS = Path(__file__).parents[1] / "ics"

# package → the packages of the project it may import
MAY_IMPORT = {
    "files": set(),
    "program": {"errors"},
    "shift": set(),
    "nets": {"registry", "errors"},
    "data": {"registry", "errors"},
    "quantities": {"shift", "registry", "errors", "tables", "nets"},
    "laboratory": {"nets", "quantities", "shift", "registry", "errors", "tables"},
    "laboratory/figures": {"analysis", "figures", "errors", "files", "tables"},
    "runs": {"data", "laboratory", "nets", "quantities", "shift", "registry", "errors", "files", "folder", "tables"},
    "analysis": {"errors", "files", "folder", "tables"},
    "figures": {"analysis", "errors", "files", "tables"},
    "report": {"analysis", "figures", "errors", "files", "folder", "tables"},
    "integrations": {"shift"},
    "registry": {"errors"},
    "folder": {"errors", "tables"},
    "tables": set(),
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


@pytest.mark.parametrize("module", ["ics", "ics.analysis", "ics.figures", "ics.laboratory.figures", "ics.report.page"])
def test_reading_results_needs_no_torch(module: str) -> None:
    code = f"import sys, {module}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_the_probe_needs_only_torch() -> None:
    code = (
        "import sys, ics.shift; sys.exit(any(m in sys.modules for m in ('pandas', 'hydra', 'torchvision', 'pydantic')))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_every_public_name_is_importable() -> None:
    code = "import ics; [getattr(ics, name) for name in ics.__all__]; assert set(dir(ics)) == set(ics.__all__)"
    subprocess.run([sys.executable, "-c", code], check=True)
