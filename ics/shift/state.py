"""Taking hold of everything that a pass can change, and putting it back exactly.

A *place* is one thing that holds state: a tensor's values, a container's items, a generator's position. `places` finds
those that a model, its loss and its batch can reach: parameters, buffers, attributes, hooks, closures, the globals that
their functions name. A `Hold` remembers what stands in them. Nothing is written that has not changed, objects keep
their identity, tensors their storage and their version.
"""

import operator
import random
import sys
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from types import BuiltinFunctionType, CellType, CodeType, FunctionType, MethodType, ModuleType
from typing import Any, Protocol

import numpy
import torch
from torch import Tensor, nn
from torch.utils import data

LARGEST = 200_000
"""Objects that a search visits at most: more of them are not a model's state but a program's."""

_FOREIGN = {*sys.stdlib_module_names, "torch", "numpy", __package__.split(".")[0]} - {"__main__"}
_CONTAINERS = {dict, OrderedDict, list, tuple, set, frozenset, deque, Tensor, nn.Parameter, nn.Buffer}
_OPEN = MethodType | CellType | partial | torch.Generator | random.Random | numpy.ndarray | numpy.random.Generator  # type: ignore[type-arg]
_PLAIN = (int, float, complex, str, bytes, type(None), torch.dtype, torch.device, torch.Size, ModuleType)
_OF_THE_LOOP = torch.optim.Optimizer | data.Dataset | data.DataLoader | data.Sampler  # type: ignore[type-arg]


class Place(Protocol):
    """One thing that holds state."""

    thing: Any

    def take(self) -> Any:
        """What it holds now, as a value that later changes leave alone."""
        ...

    def same(self, value: Any) -> bool:
        """Whether it holds that value now."""
        ...

    def put(self, value: Any) -> bool:
        """Make it hold the value again; whether it held another."""
        ...


class TensorPlace:
    """A tensor's values, storage, shape and version."""

    def __init__(self, thing: Tensor) -> None:
        self.thing = thing

    def take(self) -> tuple[Tensor, Tensor, Any]:
        alias = self.thing.data  # the same storage, whatever becomes of the tensor; without graph or version
        version = None if alias.is_inference() else torch.autograd._unsafe_preserve_version_counter(self.thing)  # type: ignore[attr-defined]
        return alias, alias.clone(), version

    def same(self, value: tuple[Tensor, Tensor, Any]) -> bool:
        return _is_bound_alike(self.thing, value[0]) and same_bits(self.thing.data, value[1])

    def put(self, value: tuple[Tensor, Tensor, Any]) -> bool:
        alias, content, version = value
        changed = not self.same(value)
        if changed:
            if not _is_bound_alike(self.thing, alias):
                self.thing.data = alias
            if alias.layout == torch.strided and alias.untyped_storage().nbytes() == 0 < content.numel():
                alias.untyped_storage().resize_(content.untyped_storage().nbytes())
            alias.copy_(content)
        if version is not None:
            version.__exit__()
        return changed


class ItemsPlace:
    """The items of a list, a dictionary, a set or a deque; also an object's attributes, which are a dictionary."""

    def __init__(self, thing: Any) -> None:
        self.thing = thing

    def take(self) -> tuple[list[Any], list[Any]]:
        thing = self.thing
        return (list(thing), list(thing.values())) if isinstance(thing, dict) else ([], list(thing))

    def same(self, value: tuple[list[Any], list[Any]]) -> bool:
        keys, items = self.take()
        if len(items) != len(value[1]) or keys != value[0]:
            return False
        return all(map(operator.is_, items, value[1])) or all(map(_is_same, items, value[1]))

    def put(self, value: tuple[list[Any], list[Any]]) -> bool:
        if self.same(value):
            return False
        keys, items = value
        self.thing.clear()
        if isinstance(self.thing, dict):
            self.thing.update(zip(keys, items, strict=True))
        else:
            getattr(self.thing, "update" if isinstance(self.thing, set) else "extend")(items)
        return True


class NamesPlace:
    """Some names of a namespace: the globals of a function, the contents of its closure, the attributes of a class."""

    def __init__(self, thing: Any, names: Sequence[str], get: Callable[[str], Any], set_: Callable[[str, Any], Any]):
        self.thing, self._names, self._get, self._set = thing, names, get, set_

    def take(self) -> list[Any]:
        return [self._get(name) for name in self._names]

    def same(self, value: list[Any]) -> bool:
        return all(_is_same(self._get(name), old) for name, old in zip(self._names, value, strict=True))

    def put(self, value: list[Any]) -> bool:
        changed = not self.same(value)
        for name, old in zip(self._names, value, strict=True):
            if not _is_same(self._get(name), old):
                self._set(name, old)
        return changed


class StatePlace:
    """What has one function to give its whole state and one to take it: generators of random numbers, NumPy arrays."""

    def __init__(
        self,
        thing: Any,
        take: Callable[[], Any],
        put: Callable[[Any], Any],
        equal: Callable[[Any, Any], bool] = operator.eq,
    ) -> None:
        self.thing, self.take, self._put, self._equal = thing, take, put, equal

    def same(self, value: Any) -> bool:
        return self._equal(self.take(), value)

    def put(self, value: Any) -> bool:
        changed = not self.same(value)
        if changed:
            self._put(value)
        return changed


class Hold:
    """What stood in some places at a moment.

    Args:
        places: to remember.
    """

    def __init__(self, places: Iterable[Place]) -> None:
        self.values: dict[int, tuple[Place, Any]] = {id(place.thing): (place, place.take()) for place in places}

    def renewed(self) -> "Hold":
        """What stands in the same places now; what has not changed is shared."""
        now = Hold([])
        for key, (place, value) in self.values.items():
            now.values[key] = (place, value if place.same(value) else place.take())
        return now

    def __contains__(self, thing: object) -> bool:
        return id(thing) in self.values

    def value(self, tensor: Tensor) -> Tensor:
        """The values that a tensor had."""
        content: Tensor = self.values[id(tensor)][1][1]
        return content

    def changed(self) -> list[Place]:
        """The places that hold something else now."""
        return [place for place, value in self.values.values() if not place.same(value)]

    def restore(self) -> list[Place]:
        """Put everything back; the places that held something else."""
        return [place for place, value in self.values.values() if place.put(value)]


def random_places(devices: Iterable[torch.device]) -> list[Place]:
    """The default generators of the CPU and of the given devices."""
    found: list[Place] = [StatePlace(torch.default_generator, torch.get_rng_state, torch.set_rng_state, torch.equal)]
    for device in devices:
        if device.type not in ("cpu", "meta"):
            module = torch.get_device_module(device)
            take, put = partial(module.get_rng_state, device), partial(module.set_rng_state, device=device)
            found.append(StatePlace((module, device), take, put, torch.equal))
    return found


def foreign_random_places() -> list[Place]:
    """The generators of Python and NumPy from which everybody draws."""
    return [
        StatePlace(random, random.getstate, random.setstate),
        StatePlace(numpy.random, numpy.random.get_state, numpy.random.set_state, _same_arrays),
    ]


def places(roots: Iterable[Any], known: Mapping[int, Any] | None = None) -> list[Place]:
    """The places that can be reached from the roots by attributes, items, closures and the globals of functions.

    Left alone: optimizers, data sets, other people's threads and files, iterators, and what the standard library, torch
    and NumPy keep for themselves.

    Args:
        roots: modules, functions, tensors, containers.
        known: ids of things at which the search stops.
    """
    found: list[Place] = []
    seen: dict[int, Any] = {}
    queue = list(roots)
    while queue and len(seen) < LARGEST:
        thing = queue.pop()
        if isinstance(thing, _PLAIN) or id(thing) in seen or (known is not None and id(thing) in known):
            continue
        seen[id(thing)] = thing  # kept alive, so that its id stays its own
        if type(thing) not in _CONTAINERS and _is_foreign(thing):
            continue
        if (place := _place(thing)) is not None:
            found.append(place)
        queue.extend(_inside(thing))
    return found


def _place(thing: Any) -> Place | None:
    """Where a thing holds state of its own; None if it has none, or it cannot be put back."""
    if isinstance(thing, dict | list | set | deque):
        return ItemsPlace(thing)
    if isinstance(thing, Tensor):
        return TensorPlace(thing) if type(thing) in (Tensor, nn.Parameter, nn.Buffer) else None
    if isinstance(thing, FunctionType):
        names, space = _globals_of(thing.__code__, thing.__globals__), thing.__globals__
        return NamesPlace(thing, names, space.__getitem__, space.__setitem__) if names else None
    if isinstance(thing, type):
        names = [name for name, value in vars(thing).items() if _is_state(name, value)]
        return NamesPlace(thing, names, vars(thing).__getitem__, partial(setattr, thing)) if names else None
    if isinstance(thing, CellType):
        return NamesPlace(thing, ["cell_contents"], partial(getattr, thing), partial(setattr, thing))
    if isinstance(thing, torch.Generator):
        return StatePlace(thing, thing.get_state, thing.set_state, torch.equal)
    if isinstance(thing, random.Random) and not isinstance(thing, random.SystemRandom):
        return StatePlace(thing, thing.getstate, thing.setstate)
    if isinstance(thing, numpy.ndarray):
        return StatePlace(thing, thing.copy, partial(numpy.copyto, thing), _same_arrays)
    if isinstance(thing, numpy.random.RandomState):
        return StatePlace(thing, thing.get_state, thing.set_state, _same_arrays)
    if isinstance(thing, numpy.random.Generator):
        bits = thing.bit_generator
        return StatePlace(thing, partial(getattr, bits, "state"), partial(setattr, bits, "state"), _same_arrays)
    slots = _slots(thing)
    return NamesPlace(thing, slots, partial(getattr, thing), partial(setattr, thing)) if slots else None


def _inside(thing: Any) -> Iterable[Any]:
    """What can be reached from a thing in one step."""
    if isinstance(thing, dict):
        return thing.values()
    if isinstance(thing, list | tuple | set | frozenset | deque):
        return thing
    if isinstance(thing, Tensor | BuiltinFunctionType | _OF_THE_LOOP):
        return ()
    if isinstance(thing, MethodType):
        return thing.__self__, thing.__func__
    if isinstance(thing, partial):
        return thing.func, thing.args, thing.keywords
    if isinstance(thing, CellType):
        return (thing.cell_contents,)
    if isinstance(thing, FunctionType):
        called = [thing.__globals__[name] for name in _globals_of(thing.__code__, thing.__globals__, functions=True)]
        return thing.__defaults__, thing.__kwdefaults__, *filter(_is_filled, thing.__closure__ or ()), *called
    if isinstance(thing, type):
        return *(value for name, value in vars(thing).items() if _is_state(name, value)), *map(
            vars(thing).get, ("forward", "__call__")
        )
    return getattr(thing, "__dict__", None), type(thing), *(getattr(thing, name) for name in _slots(thing))


def _slots(thing: Any) -> list[str]:
    """The attributes of an object that are not in its dictionary."""
    if isinstance(thing, nn.Module):
        return []
    declared = [getattr(kind, "__slots__", ()) for kind in type(thing).__mro__]
    names = [name for slots in declared for name in ((slots,) if isinstance(slots, str) else slots)]
    return [name for name in names if not name.startswith("__") and hasattr(thing, name)]


def _is_foreign(thing: Any) -> bool:
    """Whether a function, a class or an object, other than a module of a network, is no user's."""
    if isinstance(thing, nn.Module | _OPEN):
        return False
    named = thing if isinstance(thing, type | FunctionType) else type(thing)
    return named.__module__ != "collections" and named.__module__.partition(".")[0] in _FOREIGN


def _globals_of(code: CodeType, space: Mapping[str, Any], functions: bool = False) -> list[str]:
    """The globals that a function names and that hold something of the user's; with `functions` also those to call."""
    outside = (ModuleType, type, BuiltinFunctionType, *(() if functions else (FunctionType,)))
    return sorted(name for name in _names(code) if name in space and not isinstance(space[name], outside))


def _names(code: CodeType) -> set[str]:
    return set(code.co_names).union(*(_names(inner) for inner in code.co_consts if isinstance(inner, CodeType)))


def _is_state(name: str, value: Any) -> bool:
    """Whether an attribute of a class is more than a part of its definition."""
    return not name.startswith("__") and not callable(value) and not hasattr(type(value), "__get__")


def _is_filled(cell: Any) -> bool:
    try:
        return bool(cell.cell_contents is not NotImplemented)
    except ValueError:  # a closure over a name that has no value yet
        return False


def _is_same(a: Any, b: Any) -> bool:
    """Identity; equality of what cannot change; and of pairs, part by part."""
    if a is b:
        return True
    if type(a) is not type(b):
        return False
    if type(a) is tuple:
        return len(a) == len(b) and all(map(_is_same, a, b))
    return isinstance(a, int | float | complex | str | bytes) and bool(a == b)


def _same_arrays(a: Any, b: Any) -> bool:
    """Equality of nested states in which arrays stand."""
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(_same_arrays(a[key], b[key]) for key in a)
    if isinstance(a, tuple):
        return len(a) == len(b) and all(map(_same_arrays, a, b))
    return bool(a.tobytes() == b.tobytes()) if isinstance(a, numpy.ndarray) else bool(a == b)


def _is_bound_alike(tensor: Tensor, alias: Tensor) -> bool:
    """Whether a tensor still looks at the same numbers of the same storage."""
    if alias.layout != torch.strided or tensor.layout != torch.strided:
        return tensor.layout == alias.layout and tensor.shape == alias.shape
    return bool(
        tensor.untyped_storage()._cdata == alias.untyped_storage()._cdata
        and tensor.storage_offset() == alias.storage_offset()
        and tensor.shape == alias.shape
        and tensor.stride() == alias.stride()
    )


def same_bits(a: Tensor, b: Tensor) -> bool:
    """Whether two tensors hold the same values, NaN being the same as NaN."""
    if a.shape != b.shape or a.dtype != b.dtype:
        return False
    try:
        if torch.equal(a, b):
            return True
        alike: Tensor = torch.eq(a, b) | (torch.ne(a, a) & torch.ne(b, b))
        return alike.all().item() is True
    except (RuntimeError, NotImplementedError):  # a type that cannot be compared counts as changed
        return False
