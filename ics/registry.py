"""Components by name: `model.name=vgg` in a config finds the function registered as "vgg"."""

import difflib
import inspect
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import wraps
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any, Generic, TypeVar

from pydantic import ConfigDict, Field, PydanticUserError, TypeAdapter, ValidationError, validate_call

from ics.errors import UserError, summary

T = TypeVar("T")

Count = Annotated[int, Field(ge=1, le=10**9)]
"""A number of things; bounded, so that a slip of the hand is refused here and not by an overflow later."""

_CHECKS = ConfigDict(arbitrary_types_allowed=True, allow_inf_nan=False)


class Registry(Generic[T]):
    """Builders of one kind of component, each under a name.

    The type annotations of a builder are its validation: pydantic checks types and ranges at every call
    (`width: Annotated[float, Field(gt=0)]`), and an option the builder does not take is refused.

    Args:
        kind: what the components are, for messages ("network", "norm", …).
        parts: the registries of options that are components themselves.

    Example:
        >>> shapes = Registry[str]("shape")
        >>> @shapes.register("box")
        ... def box(side: int = 1) -> str:
        ...     return f"box of side {side}"
        >>> shapes.build({"name": "box", "side": 3})
        'box of side 3'
    """

    def __init__(self, kind: str, **parts: "Registry[Any]") -> None:
        self.kind = kind
        self.parts = parts
        self._builders: dict[str, Callable[..., T]] = {}

    def register(self, name: str) -> Callable[[Callable[..., T]], Callable[..., T]]:
        """Decorator that registers a builder under `name`; a name can be taken only once."""

        def decorate(builder: Callable[..., T]) -> Callable[..., T]:
            if name in self._builders:
                raise UserError(f"the {self.kind} {name!r} is registered already; choose another name")
            self._builders[name] = _validated(builder)
            return builder

        return decorate

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(self._builders))

    def build(self, settings: Mapping[str, Any], **context: Any) -> T:
        """Build the component that `settings["name"]` names.

        Args:
            settings: the name and the options a person chose.
            context: arguments the program supplies (the norm of a network, the shape of an input, …).

        Raises:
            UserError: the name is unknown, or an option is unknown, missing, of the wrong type or out of range.
        """
        if not isinstance(settings, Mapping):
            raise UserError(f"the settings of a {self.kind} are its name and options, not {settings!r}")
        options = dict(settings)
        name = options.pop("name", None)
        builder = self._builders.get(name) if isinstance(name, str) else None
        if builder is None:
            raise UserError(f"unknown {self.kind} {name!r}; {suggestion(str(name), list(self))}")
        parameters = inspect.signature(builder).parameters
        takes = [key for key in parameters if key not in context]
        takes_any = any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values())
        if lacking := [key for key in context if key not in parameters and not takes_any]:
            raise UserError(f"{self.kind} {name!r} must take {', '.join(context)}; it lacks {', '.join(lacking)}")
        for key in options:
            if key not in takes:
                raise UserError(f"{self.kind} {name!r} has no option {key!r}; {suggestion(key, takes)}")
        try:
            return builder(**context, **options)
        except ValidationError as error:
            raise UserError(f"{self.kind} {name!r}: {first_problem(error)}") from None

    def typed(self, settings: Mapping[str, Any]) -> dict[str, Any]:
        """The settings as the builder takes them, for which "0.1" is 0.1; what it would refuse stays as it is."""
        builder = self._builders.get(str(settings.get("name")))
        takes = inspect.signature(builder, eval_str=True).parameters if builder else {}
        typed = {key: _typed(value, takes[key].annotation) for key, value in settings.items() if key in takes}
        parts = {key: settings[key] for key in self.parts if isinstance(settings.get(key), Mapping)}
        return {**settings, **typed, **{key: self.parts[key].typed(value) for key, value in parts.items()}}


def _typed(value: Any, annotation: Any) -> Any:
    try:
        adapter = TypeAdapter(annotation, config=_CHECKS)
        return adapter.dump_python(adapter.validate_python(value), mode="json")
    except (ValidationError, PydanticUserError):
        return value


def _validated(builder: Callable[..., T]) -> Callable[..., T]:
    """The builder with its annotations enforced; of a class, those of its constructor."""
    check = validate_call(config=_CHECKS)
    if not isinstance(builder, type):
        return check(builder)
    construct = check(builder.__init__)  # type: ignore[misc]  # the very class, no subclass

    def build(**options: Any) -> T:
        instance: T = object.__new__(builder)
        construct(instance, **options)
        return instance

    return wraps(builder)(build)


def import_plugin(name: str) -> None:
    """Import a person's own module, whose components register themselves then; installed, or in the current folder."""
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.append(here)
    try:
        import_module(name)
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # it is not our code, and may even exit
        raise UserError(f"plugin {name!r} cannot be imported: {summary(error)}") from error


def suggestion(name: str, known: list[str], inside: Iterable[str] = ()) -> str:
    """The known names as a phrase, with the closest one first where there is one, which may be `inside` one of them."""
    if not known:
        return "there are none"
    lower = {key.lower(): key for key in known}
    close = [key for key in inside if key.endswith(f".{name}")]
    close += [lower[key] for key in difflib.get_close_matches(name.lower(), lower, n=1)]
    hint = f"did you mean {close[0]!r}? " if close else ""
    return f"{hint}known: {', '.join(known)}"


def first_problem(error: ValidationError) -> str:
    """Pydantic's first finding as one line: where, what is wrong, the value it got."""
    problem = error.errors(include_url=False)[0]
    where = ".".join(str(part) for part in problem["loc"])
    if problem["type"].startswith("missing"):
        return f"{where} is missing"
    return f"{where}: {problem['msg']} (got {problem['input']!r})"
