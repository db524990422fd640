"""Work in processes of their own, forked with all that is in memory already."""

import gc
import multiprocessing
import os
import signal
import sys
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any, TypeVar

from ics.errors import UserError

T = TypeVar("T")


def cores() -> int:
    """How many processes are of use: one per core, where processes can share memory."""
    return len(os.sched_getaffinity(0)) if sys.platform == "linux" else 1


def begun(call: Callable[[], T], processes: int | None = None) -> Callable[[], T]:
    """Begins a call in a process of its own, if several are of use, and gives what waits for its result.

    Raises:
        UserError: where the result is asked for: the process was killed.
    """
    if (processes or cores()) == 1:
        return call
    ours, theirs = multiprocessing.Pipe(duplex=False)
    process = multiprocessing.get_context("fork").Process(target=_answer, args=(call, theirs), daemon=True)
    gc.freeze()  # or the process would search through all that is here, and copy it by that
    process.start()
    theirs.close()

    def result() -> T:
        try:
            answer: T | Exception = ours.recv()
        except EOFError:
            raise UserError("a process that did a part of the work was killed; is there memory enough?") from None
        process.join()
        if isinstance(answer, Exception):
            raise answer
        return answer

    return result


def _answer(call: Callable[[], Any], pipe: Connection) -> None:
    """In the process, which dies at once of Ctrl-C; the parent tells of it."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    gc.disable()  # it ends soon
    try:
        pipe.send(call())
    except Exception as error:  # the parent's to tell
        pipe.send(error)
