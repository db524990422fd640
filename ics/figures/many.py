"""Draws many figures, each sheet in a process of its own, as many at a time as there are cores."""

import multiprocessing
import os
import signal
import sys
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import groupby, islice
from multiprocessing.connection import Connection
from operator import itemgetter
from typing import Any, TypeVar

from ics.analysis.load import Runs
from ics.errors import UserError
from ics.figures.catalogue import Figure, MissingRuns, draw, find
from ics.figures.sheet import Sheet

T = TypeVar("T")
_Numbered = tuple[int, Callable[[], T]]  # which figure, and what waits for one of its sheets, or makes it


def draw_many(
    figures: Sequence[Figure], runs: Runs | None, use: Callable[[str, Sheet], T], processes: int | None = None
) -> Iterator[list[T] | MissingRuns]:
    """Draws figures, and gives what came of each in their order.

    What they are drawn from is found in this process, so that it is worked out once for all of them, while others draw.

    Args:
        figures: from `select`.
        runs: what they are drawn from.
        use: see `draw`; called where the sheet is drawn, so in another process if there are several.
        processes: about so many; by default one per core, where processes can share memory.

    Yields:
        What `use` gave for every scale, or why there is no figure.

    Raises:
        UserError: the runs of a figure cannot be told apart, or a process was killed.
    """
    wanted = processes or (len(os.sched_getaffinity(0)) if sys.platform == "linux" else 1)
    begin = _forked if wanted > 1 else lambda call: call
    sheets = _ahead(_begun(figures, runs, use, begin), wanted)
    for _, of_figure in groupby(sheets, itemgetter(0)):
        results = [result() for _, result in of_figure]
        yield results[0] if isinstance(results[0], MissingRuns) else results


def _begun(figures: Sequence[Figure], runs: Runs | None, use: Any, begin: Any) -> Iterator[_Numbered[Any]]:
    for number, figure in enumerate(figures):
        try:
            for stem, found in find(figure, runs):
                yield number, begin(partial(draw, figure, stem, found, use))
        except MissingRuns as problem:
            yield number, partial(MissingRuns, *problem.args)


def _ahead(sheets: Iterator[_Numbered[T]], number: int) -> Iterator[_Numbered[T]]:
    """The same, so many of them begun before the first is asked for its result."""
    begun = deque(islice(sheets, number))
    while begun:
        yield begun.popleft()
        begun.extend(islice(sheets, 1))


def _forked(call: Callable[[], T]) -> Callable[[], T]:
    """Begins a call in a process of its own, and gives what waits for its result."""
    ours, theirs = multiprocessing.Pipe(duplex=False)
    process = multiprocessing.get_context("fork").Process(target=_answer, args=(call, theirs), daemon=True)
    process.start()
    theirs.close()

    def result() -> T:
        try:
            answer: T | Exception = ours.recv()
        except EOFError:
            raise UserError("a process that drew a figure was killed; is there memory enough?") from None
        process.join()
        if isinstance(answer, Exception):
            raise answer
        return answer

    return result


def _answer(call: Callable[[], Any], pipe: Connection) -> None:
    """In the process, which dies at once of Ctrl-C; the parent tells of it."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    try:
        pipe.send(call())
    except Exception as error:  # the parent's to tell
        pipe.send(error)
