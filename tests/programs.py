"""The project's programs as a user starts them, but in forks of this process, which need not import all of it again."""

import gc
import os
import runpy
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

from hydra.core.global_hydra import GlobalHydra
from hydra.core.plugins import Plugins
from small_runs import import_all

ROOT = Path(__file__).parents[1]
SMALL = [
    "model=mlp", "data=digits", "data.limit=40", "batch_size=8", "steps=2", "measure=none",
    "evaluation.every=null", "checkpoint.every_minutes=null",
]  # fmt: skip


def program(script: str) -> Callable[[list[str]], int]:
    """The function behind scripts/<script>.py, to be called here."""
    found: Callable[[list[str]], int] = runpy.run_path(str(ROOT / "scripts" / f"{script}.py"))["main"]
    return found


class Program:
    """A program on its way. What it registers, sets and leaves behind is gone with its process.

    Args:
        words: its file, as seen from the project's folder, and its arguments.
    """

    def __init__(self, *words: str) -> None:
        _import_hydra()
        self._words = words
        self._printed = [tempfile.TemporaryFile("w+") for _ in ("stdout", "stderr")]  # noqa: SIM115
        self.process = os.fork()
        if self.process == 0:
            os._exit(self._run())

    def _run(self) -> int:
        """In the fork."""
        # The tests' garbage stays: its threads have not come along, and a process group would wait for them for ever.
        gc.freeze()
        sys.settrace(None)  # Hypothesis would trace it
        os.chdir(ROOT)
        for number, file in enumerate(self._printed, start=1):
            os.dup2(file.fileno(), number)
        sys.stdout, sys.stderr = self._printed
        sys.argv = list(self._words)
        GlobalHydra.instance().clear()
        status: Any = 0
        try:
            runpy.run_path(self._words[0], run_name="__main__")
        except SystemExit as end:
            status = end.code or 0
        except BaseException:
            traceback.print_exc()
            status = 1
        sys.stdout.flush()
        sys.stderr.flush()
        return int(status)

    @property
    def running(self) -> bool:
        """Whether it has not ended, without waiting for it."""
        return os.waitid(os.P_PID, self.process, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None

    def done(self) -> "subprocess.CompletedProcess[str]":
        """Its end: exit status and what it printed."""
        status = os.waitstatus_to_exitcode(os.waitpid(self.process, 0)[1])
        texts = []
        for file in self._printed:
            with file:
                file.seek(0)
                texts.append(file.read())
        return subprocess.CompletedProcess(self._words, status, *texts)


def python(*words: str) -> "subprocess.CompletedProcess[str]":
    """Run a program to its end."""
    return Program(*words).done()


def train(*words: str) -> "subprocess.CompletedProcess[str]":
    """Run scripts/train.py to its end: the small run with some settings changed, or with -m a sweep of such runs."""
    return python("scripts/train.py", *(["-m"] if "-m" in words else []), *SMALL, *(w for w in words if w != "-m"))


@cache
def _import_hydra() -> None:
    import_all()
    Plugins.instance()
