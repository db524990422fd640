"""What a composed config asks for, and what Hydra and its readers have against a command line, in one line."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from traceback import walk_tb
from typing import Any

from hydra.core.global_hydra import GlobalHydra
from hydra.types import RunMode
from omegaconf import DictConfig, MissingMandatoryValue, OmegaConf

from hydra_plugins.ics_words import plain
from ics.errors import UserError
from ics.files import as_path
from ics.runs.config import COMPONENTS, parse
from ics.runs.naming import Composed, Library, run_folder
from ics.runs.sweep import Request

READERS = ("antlr4", "hydra", "omegaconf", "yaml")  # what they raise is about command lines and config files


def read_request(config: DictConfig, hydra: Any) -> Request:
    """Take a composed config apart.

    Args:
        config: with or without its `hydra` node.
        hydra: that node.

    Raises:
        UserError: a setting is unknown, missing, or makes no sense.
    """
    with reading():
        settings = _plain(config, strict=True)
    typed: Any = OmegaConf.to_container(hydra.overrides.task, resolve=False)
    words = [plain(str(word)) for word in typed]
    lists = {word.partition("=")[0]: word for word in words if "=[" in word}
    for group in (*COMPONENTS, "experiment", "scale"):
        if group in lists or (group in COMPONENTS and group in settings and group not in hydra.runtime.choices):
            word = lists.get(group, f"{group}=[a,b]")
            swept = re.sub(r"[\[\] ]", "", word)
            raise UserError(f"{word} lays options on top of each other; a sweep over them is -m {swept}")
    runs, overwrite, plan = (settings.pop(key, None) for key in ("runs", "overwrite", "plan"))
    if not isinstance(runs, str) or not runs:
        raise UserError(f"runs must be a folder, not {runs!r}")
    for key, value in {"overwrite": overwrite, "plan": plan}.items():
        if not isinstance(value, bool):
            raise UserError(f"{key} must be true or false, not {value!r}")
    parsed = parse(settings)
    name = str(run_folder(parsed, _library(GlobalHydra.instance().config_loader())))
    return Request(parsed, as_path(runs), name, ["scripts/train.py", *words], overwrite, plan)


def grid_of(hydra: Any) -> dict[str, Any]:
    """What an experiment sweeps over: dotted key → values."""
    params: dict[str, Any] = OmegaConf.to_container(hydra.sweeper.params or OmegaConf.create())  # type: ignore[assignment]
    return params


@cache
def _library(loader: Any) -> Library:
    """The config files of a program."""

    @cache
    def read(group: str, option: str) -> dict[str, Any]:
        found = loader.repository.load_config(f"{group}/{option}")
        listed = [read(group, default.path) for default in found.defaults_list if default.path != "_self_"]
        return {key: value for part in [*listed, _plain(found.config)] for key, value in part.items()}

    @cache
    def compose(*words: str) -> Composed:
        config = loader.load_configuration("train", list(words), RunMode.RUN)
        return Composed(_plain(config), dict(config.hydra.runtime.choices), tuple(grid_of(config.hydra)))

    return Library(loader.get_group_options, read, compose)


def _plain(config: Any, strict: bool = False) -> Any:
    keys = [str(key) for key in config if key != "hydra"]
    return OmegaConf.to_container(OmegaConf.masked_copy(config, keys), resolve=strict, throw_on_missing=strict)


@contextmanager
def reading(word: str = "") -> Iterator[None]:
    """What the readers have against a command line, or a word, or a config file is a `UserError`; bugs stay bugs."""
    try:
        yield
    except Exception as error:
        if isinstance(error, BrokenPipeError) or not _is_readers(error):
            raise
        raise UserError(": ".join(filter(None, [word, in_one_line(error)]))) from error


def in_one_line(error: BaseException) -> str:
    """The words of an error without Hydra's lists of folders and types, and the override that they are about."""
    if isinstance(error, MissingMandatoryValue) and error.full_key:
        return f"{error.full_key} is missing; give it as {error.full_key}=…"
    words: list[str] = []
    options: list[str] = []
    for line in str(error).splitlines():
        if line.startswith(("Config search path", "    full_key", "    reference_type", "    object_type")):
            break
        if line.startswith("\t"):
            options.append(line.strip())
        elif line.strip() and not line.startswith("See "):
            words.append(line.strip())
    told = " ".join(words + [", ".join(options)] * bool(options)) or type(error).__name__
    if override := getattr(error, "override", None):  # what the parser of overrides could not read
        told = "cannot be read" if "no viable" in told or "NoViable" in told else told
        told = f"{override}: {told}; put a value with signs of its own between quotes: 'key=\"…\"'"
    return re.sub(r"(?<![^\s'])\+\+", "", told)  # which are not the person's


def _is_readers(error: BaseException) -> bool:
    """Whether one of the readers raised it, or Hydra on account of one."""
    while error.__cause__ is not None and error.__cause__.__traceback__:  # OmegaConf's, under a debugger, has none
        error = error.__cause__
    modules = [frame.f_globals.get("__name__", "") for frame, _ in walk_tb(error.__traceback__)]
    return modules[-1].partition(".")[0] in READERS
