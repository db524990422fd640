"""How far a run or a sweep is: a bar on a terminal, a plain line now and then elsewhere."""

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

from tqdm import tqdm

from ics.runs.estimate import Outlook

INTERVAL = 30.0  # seconds between plain lines
LOOK = 2.0  # seconds between looks at a sweep


class _Lines:
    """Stderr for a bar that is no bar: each of its states on a line of its own."""

    def write(self, text: str) -> None:
        if text.strip():
            print(text.strip(), file=sys.stderr, flush=True)

    def flush(self) -> None:
        pass


def progress(name: str | None, total: int, done: int, unit: str = "step") -> "tqdm[Any]":
    """A bar to be updated by `update()`, a context manager; `done` of `total` steps are over, no name shows nothing."""
    shown: dict[str, Any] = {"desc": name, "total": total, "initial": done, "unit": unit, "disable": name is None}
    if sys.stderr.isatty():
        return tqdm(**shown, leave=False)
    words = f"{{desc}}: {unit} {{n_fmt}} of {{total_fmt}} ({{percentage:.0f}}%), {{remaining}} left{{postfix}}"
    return tqdm(**shown, leave=False, file=_Lines(), bar_format=words, mininterval=INTERVAL, delay=INTERVAL, miniters=0)


@contextmanager
def watched(outlook: Outlook, total: int) -> Iterator[None]:
    """Shows how many runs of a sweep are finished while it is held; `total` are they with those finished before."""
    over = threading.Event()

    def watch() -> None:
        with progress("sweep", total, total - len(outlook.runs), "run") as bar:
            bar.bar_format = "{desc}: {n_fmt} of {total_fmt} runs done{postfix}"
            while not over.wait(LOOK):
                unfinished, seconds, unknown = outlook.left()
                about = f"{'more than' if unknown else 'about'} {timedelta(seconds=round(seconds))} left"
                bar.set_postfix_str(about if seconds else "", refresh=False)
                bar.update(total - unfinished - bar.n)

    thread = threading.Thread(target=watch, name="sweep watch", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
