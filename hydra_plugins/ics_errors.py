"""What Hydra has against a command line, in one line."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from ics.errors import UserError

READERS = ("antlr4", "hydra", "omegaconf", "yaml")
"""The packages that read command lines and config files: what they raise is about these."""


@contextmanager
def one_line_errors() -> Iterator[None]:
    """Around `main()`: what is wrong with a command line, config file or setting is told in one line; exit status 2.

    Any other error is a bug, and keeps its traceback.
    """
    os.environ["HYDRA_FULL_ERROR"] = "1"  # else Hydra prints it its own way
    try:
        yield
    except Exception as error:
        if not (isinstance(error, UserError) or _is_readers(error)):
            raise
        print(f"error: {in_one_line(error)}", file=sys.stderr)
        sys.exit(2)


def in_one_line(error: BaseException) -> str:
    """The words of an error without Hydra's lists of folders and types."""
    words: list[str] = []
    options: list[str] = []
    for line in str(error).splitlines():
        if line.startswith(("Config search path", "    full_key", "    reference_type", "    object_type")):
            break
        if line.startswith("\t"):
            options.append(line.strip())
        elif line.strip() and not line.startswith("See "):
            words.append(line.strip())
    return " ".join(words + [", ".join(options)] * bool(options)) or type(error).__name__


def _is_readers(error: BaseException) -> bool:
    """Whether one of the readers raised it, or Hydra on account of one."""
    while error.__cause__ is not None:
        error = error.__cause__
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    module = "" if trace is None else str(trace.tb_frame.f_globals.get("__name__", ""))
    return module.partition(".")[0] in READERS
