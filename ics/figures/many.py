"""Draws many figures at a time, one process per core."""

import multiprocessing
import os
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from typing import Any, TypeVar

from ics.analysis.load import Runs
from ics.figures.catalogue import Figure, MissingRuns, draw
from ics.figures.sheet import Sheet

T = TypeVar("T")

ENOUGH = 4
"""Fewer figures are not worth a second process."""

_inherited: tuple[Sequence[Figure], Runs, Callable[[str, Sheet], Any]]
"""Of a process that draws: what it was forked with, and so need not be sent."""


def draw_many(
    figures: Sequence[Figure], runs: Runs | None, use: Callable[[str, Sheet], T], processes: int | None = None
) -> Iterator[list[T] | MissingRuns]:
    """Draws figures, and gives what came of each in their order.

    Args:
        figures: from `select`.
        runs: what there is; None if nothing.
        use: see `draw`; called where the figure is drawn, so in another process if there are several.
        processes: at most so many; by default one per core, where processes can share memory.

    Yields:
        What `use` gave for every scale, or why there is no figure.

    Raises:
        UserError: the runs of a figure cannot be told apart.
    """
    wanted = processes or (len(os.sched_getaffinity(0)) if sys.platform == "linux" else 1)
    if wanted == 1 or len(figures) < ENOUGH or runs is None:
        for figure in figures:
            yield _drawn(figure, runs, use)
        return
    for table in runs:
        runs[table]  # read now, and not in every process
    fork = multiprocessing.get_context("fork")
    with ProcessPoolExecutor(wanted, fork, _inherit, (figures, runs, use)) as pool:
        yield from pool.map(_drawn_number, range(len(figures)))


def _inherit(*of_parent: Any) -> None:
    """Begins a process, which dies at once of Ctrl-C; the parent tells of it."""
    global _inherited
    _inherited = of_parent
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def _drawn_number(number: int) -> list[Any] | MissingRuns:
    figures, runs, use = _inherited
    return _drawn(figures[number], runs, use)


def _drawn(figure: Figure, runs: Runs | None, use: Callable[[str, Sheet], T]) -> list[T] | MissingRuns:
    try:
        return draw(figure, runs, use)
    except MissingRuns as problem:
        return problem
