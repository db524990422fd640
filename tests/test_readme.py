"""What the pages show works: the README's code runs, training commands compose, paths exist."""

import re
import textwrap
from pathlib import Path

import pytest
from test_conf import composed
from test_docs_in_your_loop import names

from ics.runs.config import parse

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
BLOCKS = [textwrap.dedent(block) for block in re.findall(r"(?:^(?: {4}.*)?\n)+", README, re.MULTILINE) if block.strip()]
PAGES = [ROOT / "README.md", ROOT / "results" / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
COMMANDS = [
    command
    for page in PAGES
    for command in re.findall(r"^ {4}python scripts/train\.py (.*?)(?:  +#.*)?$", page.read_text(), re.MULTILINE)
]


def test_the_probe_in_a_loop(capsys: pytest.CaptureFixture[str]) -> None:
    (code,) = [block for block in BLOCKS if "from ics import ShiftProbe" in block]
    found = names()
    exec(code, found)
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[:2] for line in lines] == [["1", "0"], ["2", "2"]] * len(found["batches"])


@pytest.mark.parametrize("command", COMMANDS)
def test_training_commands_compose(command: str) -> None:
    words = [word for word in command.split() if word != "-m"]
    single = [re.sub(r"=([^,\[{]*),.*", r"=\1", word) for word in words if not word.startswith("hydra/")]
    parse(composed(*single))


def test_there_are_commands() -> None:
    assert len(COMMANDS) >= 4


def test_examples_are_those_in_the_files() -> None:
    (norm,) = [block for block in BLOCKS if "@NORMS.register" in block]
    assert norm.strip() in (ROOT / "examples" / "own_norm.py").read_text()
    commands = [command for command in COMMANDS if "plugin=" in command]
    assert len(commands) == 4
    for command in commands:
        (module,) = re.findall(r"plugin=(\S+)", command)
        assert f"\npython scripts/train.py {command}\n" in (ROOT / f"{module.replace('.', '/')}.py").read_text()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_paths_exist(page: Path) -> None:
    for path in re.findall(r"\]\((?!http)([^)#]+)[^)]*\)", page.read_text()):
        assert (page.parent / path).exists(), path


def test_the_house_stands() -> None:
    for path in re.findall(
        r"^ {4}((?:ics|conf|scripts|docs|results|examples|hydra_plugins)/\S*)", README, re.MULTILINE
    ):
        assert (ROOT / path).exists(), path


def test_the_readme_is_short() -> None:
    assert len(README.splitlines()) <= 150
