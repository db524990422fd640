"""The words of a command line: what a person may write, and how Hydra must be told."""

import re
from collections.abc import Callable
from typing import NoReturn

from hydra._internal.utils import get_args_parser

from ics.errors import UserError
from ics.files import as_path

GROUPS = ("model", "norm", "data", "optimizer", "measure", "experiment", "scale")


def hydra_words(words: list[str], options_of: Callable[[str], list[str]]) -> list[str]:
    """A command line as Hydra takes it: options first, settings so that they may be new, `~/` expanded.

    Args:
        words: as typed.
        options_of: of a group, for messages.

    Raises:
        UserError: a word is neither an option of the program nor a setting.
    """
    parser = get_args_parser()
    parser.allow_abbrev = False  # or --experiment is --experimental-rerun

    def refuse(message: str) -> NoReturn:
        raise UserError(f"{message}; a setting is written without dashes, as norm=batch")

    parser.error = refuse  # type: ignore[method-assign]
    given = parser.parse_intermixed_args(words)
    if given.shell_completion:
        return words
    for group in GROUPS if given.config_dir else ():
        own = {file.stem: file for file in (as_path(given.config_dir) / group).glob("*.yaml")}
        if shadowed := own.keys() & {*options_of(group)}:
            raise UserError(f"{own[min(shadowed)]} has the name of a file that comes with the program; rename it")
    settings = list(given.overrides)
    for word in settings:
        if any(0xD800 <= ord(letter) < 0xE000 for letter in word):  # how Python marks a byte that it cannot read
            raise UserError(f"{word!a} is no text in this terminal's encoding; set PYTHONUTF8=1 or rename it")
        key, equals, value = word.lstrip("+").partition("=")
        if not key or not (equals or key.startswith("~")):
            raise UserError(f"{word!r} is no setting; write key=value without spaces around =, as norm=batch")
        if key in GROUPS and equals and {"", "null"} & set(value.lower().split(",")):
            raise UserError(f"{word}: leave it out, or choose from {', '.join(options_of(key))}")
    options = list(words)
    for word in reversed(settings):
        del options[len(options) - 1 - options[::-1].index(word)]
    home = str(as_path("~"))
    return options + [hydra_word(re.sub(r"^([^=]+=)~(?=/|$)", lambda found: found[1] + home, w)) for w in settings]


def hydra_word(word: str) -> str:
    """A setting, added where it is new: whether there is such a one is found out when the run is read."""
    key, _, value = plain(word).partition("=")
    if key.startswith(("~", "hydra")) or "/" in key or "@" in key:
        return word
    return plain(word) if key in GROUPS and not value.startswith("{") else f"++{plain(word)}"


def plain(word: str) -> str:
    """A setting as a person writes it."""
    return word.lstrip("+")
