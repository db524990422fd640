"""The one exception for mistakes a person can mend, and how any other is told in a line."""

import re
import traceback
from pathlib import Path


class UserError(ValueError):
    """Something in the input is wrong: the message is one line that names the value and what to do.

    Command-line programs print the message and exit with status 2; they show no traceback for it.
    """

    def __str__(self) -> str:
        return one_line(super().__str__())  # what it quotes may have several


def summary(error: BaseException) -> str:
    """What a person's own code raised, and where: the last line that is no library's, nor that which caught it."""
    frames = traceback.extract_tb(error.__traceback__)[1:]
    own = [frame for frame in frames if not re.search("site-packages|importlib", frame.filename)]
    place = f" ({Path(own[-1].filename).name}:{own[-1].lineno})" if own else ""
    return one_line(f"{type(error).__name__}: {error}{place}")


def one_line(text: str) -> str:
    """A text of several lines as one."""
    return re.sub(r"\s*\n\s*", " ", text.strip())
