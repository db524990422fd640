"""Draws many figures at a time, one process per core."""

import multiprocessing
import os
import signal
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from ics.analysis.load import Runs
from ics.figures.catalogue import Figure, MissingRuns, draw

ENOUGH = 4
"""Fewer figures are not worth a second process."""

_shared: tuple[Sequence[Figure], Runs | None, Path] | None = None  # what the processes inherit instead of copying it


def draw_many(
    figures: Sequence[Figure], runs: Runs | None, folder: Path, processes: int | None = None
) -> Iterator[list[Path] | MissingRuns]:
    """Draws figures, and gives what came of each in their order.

    Args:
        figures: from `select`.
        runs: what there is; None if nothing.
        folder: where the files go.
        processes: at most so many; by default one per core, where processes can share memory.

    Yields:
        The files written, or why there are none.

    Raises:
        UserError: the runs of a figure cannot be told apart.
    """
    global _shared
    wanted = processes or (len(os.sched_getaffinity(0)) if sys.platform == "linux" else 1)
    if wanted == 1 or len(figures) < ENOUGH or runs is None:
        for figure in figures:
            yield _drawn(figure, runs, folder)
        return
    _shared = (figures, runs, folder)
    try:
        fork = multiprocessing.get_context("fork")
        with ProcessPoolExecutor(wanted, mp_context=fork, initializer=_die_at_once) as pool:
            yield from pool.map(_drawn_number, range(len(figures)))
    finally:
        _shared = None


def _die_at_once() -> None:
    """At Ctrl-C, which the parent tells of."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def _drawn_number(number: int) -> list[Path] | MissingRuns:
    assert _shared is not None
    figures, runs, folder = _shared
    return _drawn(figures[number], runs, folder)


def _drawn(figure: Figure, runs: Runs | None, folder: Path) -> list[Path] | MissingRuns:
    try:
        return draw(figure, runs, folder)
    except MissingRuns as problem:
        return problem
