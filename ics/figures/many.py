"""Draws many figures, each sheet in a process of its own, as many at a time as there are cores."""

import io
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import groupby, islice
from operator import itemgetter
from typing import Any, TypeVar

from ics.analysis.load import Runs
from ics.figures.catalogue import Figure, MissingRuns, draw, find
from ics.figures.sheet import Sheet
from ics.figures.style import style
from ics.processes import begun, cores

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
    wanted = processes or cores()
    if wanted > 1:
        _warm_up()
    sheets = _ahead(_begun(figures, runs, use, wanted), wanted + 1)  # so that they draw while more is found here
    for _, of_figure in groupby(sheets, itemgetter(0)):
        results = [result() for _, result in of_figure]
        yield results[0] if isinstance(results[0], MissingRuns) else results


def _warm_up() -> None:
    """Load, once for all processes, what drawing and saving a sheet takes."""
    with style():
        sheet = Sheet("−", [], "$x$", body=1)
        sheet.subplots()
        for ending in ("pdf", "png"):
            sheet.savefig(io.BytesIO(), format=ending)


def _begun(figures: Sequence[Figure], runs: Runs | None, use: Any, processes: int) -> Iterator[_Numbered[Any]]:
    for number, figure in enumerate(figures):
        try:
            for stem, found in find(figure, runs):
                yield number, begun(partial(draw, figure, stem, found, use), processes)
        except MissingRuns as problem:
            yield number, partial(MissingRuns, *problem.args)


def _ahead(sheets: Iterator[_Numbered[T]], number: int) -> Iterator[_Numbered[T]]:
    """The same, so many of them begun before the first is asked for its result."""
    ahead = deque(islice(sheets, number))
    while ahead:
        yield ahead.popleft()
        ahead.extend(islice(sheets, 1))
