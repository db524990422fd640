"""Where a run's folder lies: readable, decided by its settings alone, the seed last."""

import hashlib
import json
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any, NamedTuple

from ics.folder import flat
from ics.runs.config import COMPONENTS, RunConfig

LONGEST = 255  # bytes in the name of a file or folder
# What the name says before the list of differences.
SAID = {"experiment", "scale", "seed", "steps", "model.name", "data.name", "norm.name", "optimizer.lr"}
_WORD = re.compile(r"[A-Za-z]\w*([.+-]\w+)*", re.ASCII)
_NOT_WORDS = {"true", "false", "null", "nan", "inf"}


class Composed(NamedTuple):
    """What some options give: the settings, the option of every group, and the keys of the experiment's grid."""

    settings: Mapping[str, Any]
    choices: Mapping[str, str | None]
    grid: tuple[str, ...]


class Library(NamedTuple):
    """The config files: the options of a group, what the file of an option says, what some `group=option`s give."""

    options: Callable[[str], Sequence[str]]
    read: Callable[[str, str], Mapping[str, Any]]
    compose: Callable[..., Composed]


def run_folder(config: RunConfig, library: Library) -> PurePosixPath:
    """The folder of a run below the root of all runs.

    Its settings are told by the options that are nearest to them, and by what differs from these within the run's
    experiment; so it is the same however a command line arrives at them.

    Returns:
        experiment[/scale]/model_data_norm_lr[_group=option…][_key=value…]/seed. The keys of the experiment's own grid
        are always named; a key that is no more is `~key`. How often a run saves itself is not part of it.
    """
    settings = config.model_dump(exclude={"checkpoint"})  # how often it saves itself changes no result
    base = [
        f"{group}={settings[group]}" for group in ("experiment", "scale") if settings[group] in library.options(group)
    ]
    own = library.compose(*base)
    chosen = {group: _nearest(library, group, settings[group], own.choices.get(group)) for group in COMPONENTS}
    words = [*base, *(f"{group}={option}" for group, option in chosen.items() if option)]
    defaults = library.compose(*words).settings
    differences = [] if chosen["optimizer"] == own.choices.get("optimizer") else [f"optimizer={chosen['optimizer']}"]
    if settings["measure"] != defaults["measure"]:
        measure = _nearest(library, "measure", settings["measure"], own.choices.get("measure"))
        other = library.compose(*words, f"measure={measure}").settings
        if _distance(settings["measure"], other["measure"]) + 1 < _distance(settings["measure"], defaults["measure"]):
            defaults = other
            differences.append(f"measure={measure}")

    new, old = (
        {key: spelled(value) for key, value in flat({group: tree[group] for group in settings}).items()}
        for tree in (settings, defaults)
    )
    changed = {key for key in new.keys() | old.keys() if new.get(key) != old.get(key)} | (new.keys() & set(own.grid))
    differences += [f"{key}={new[key]}" if key in new else f"~{key}" for key in changed - SAID]
    names = {group: settings[group].get("name") if o in ("own", None) else o for group, o in chosen.items()}
    first = [*(spelled(names[group]) for group in ("model", "data", "norm")), f"lr{new.get('optimizer.lr')}"]
    label = "_".join([*first, *sorted(differences)])
    if len(label) > LONGEST:
        label = f"{label[: LONGEST - 9]}.{_digest(label)}"
    scale = [spelled(config.scale)] if config.scale else []
    return PurePosixPath(config.experiment, *scale, label, f"seed{config.seed}")


def _nearest(library: Library, group: str, settings: Mapping[str, Any], own: str | None) -> str | None:
    """The option of a group that differs least from these settings; "own" for a component of a plugin."""
    files = {option: library.read(group, option) for option in library.options(group)}
    fitting = {o: at for o, at in files.items() if at.get("name") in (settings.get("name"), "???")}
    costs = {o: (at.get("name") == "???", _distance(settings, at), o != own, o) for o, at in fitting.items()}
    return min(costs, key=lambda option: costs[option], default=None)


def _distance(one: Mapping[str, Any], other: Mapping[str, Any]) -> int:
    """How many settings differ."""
    a, b = flat(one), flat(other)
    return sum(a.get(key, b) != b.get(key, a) for key in a.keys() | b.keys())


def spelled(value: Any) -> str:
    """A setting in letters that a folder's name may have, short, and never the same for two values.

    Numbers are as short as they are exact (1.0 is 1), lists stand between hyphens; what letters cannot show has a hash.

    Example:
        >>> [spelled(value) for value in (5e-4, 1.0, True, None, "he_uniform", [64, 10], "a b")]
        ['0.0005', '1', 'true', 'null', 'he_uniform', '-64,10-', 'a-b.db2e76d1']
    """
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e15:
        value = int(value)
    if value is None or isinstance(value, bool | int | float):
        return json.dumps(value).lower()
    if isinstance(value, str) and _WORD.fullmatch(value) and value.lower() not in _NOT_WORDS:
        return value
    if isinstance(value, list | tuple) and not any(isinstance(one, list | tuple | Mapping) for one in value):
        return f"-{','.join(map(spelled, value))}{'-' if value else ''}"
    text = value if isinstance(value, str) else json.dumps(value, sort_keys=True, default=str)
    return f"{re.sub(r'[^A-Za-z0-9]+', '-', text)[:40]}.{_digest(json.dumps(value, sort_keys=True, default=str))}"


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:8]
