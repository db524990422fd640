"""How every program of the project begins and ends."""

import io
import multiprocessing
import os
import sys
import warnings
from collections.abc import Callable
from functools import wraps

from ics.errors import UserError


def program(main: Callable[[list[str] | None], int | None]) -> Callable[[list[str] | None], int]:
    """Makes of a function of the command line a program with good manners.

    What a person can mend is one line and exit status 2; a warning is one line; Ctrl-C is one line and 130, at once; a
    reader that has gone, such as `head`, is no error. Any encoding of the terminal will do, and figures need no window
    whatever `MPLBACKEND` says. The function imports what it needs itself, so that all this holds from the start.
    """

    @wraps(main)
    def run(arguments: list[str] | None = None) -> int:
        os.environ["MPLBACKEND"] = "agg"
        if not (sys.stdout and sys.stderr):  # closed ones
            nowhere = open(os.devnull, "w")  # noqa: SIM115 (to the end)
            sys.stdout, sys.stderr = sys.stdout or nowhere, sys.stderr or nowhere
        for stream in (sys.stdout, sys.stderr):
            if isinstance(stream, io.TextIOWrapper):
                stream.reconfigure(errors="backslashreplace")
        try:
            with warnings.catch_warnings():
                warnings.showwarning = lambda message, *_, **__: print(f"warning: {message}", file=sys.stderr)
                status = main(arguments) or 0
            sys.stdout.flush()
            return status
        except BrokenPipeError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # what is left to flush goes there
            return 128 + 13
        except KeyboardInterrupt:
            for child in multiprocessing.active_children():
                child.terminate()
            print("stopped", file=sys.stderr)
            return 128 + 2
        except UserError as problem:
            print(f"error: {problem}", file=sys.stderr)
        except OSError as problem:
            where = f"{problem.filename}: " if problem.filename else ""
            print(f"error: {where}{problem.strerror or problem}", file=sys.stderr)
        return 2

    return run
