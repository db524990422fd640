"""Taking hold of everything that a pass can change, and putting it back exactly.

A *place* is one thing that holds state: a tensor's values, a container's items, a generator's position. `places` finds
those that a model, its loss and its batch can reach: parameters, buffers, attributes, hooks, closures, the globals that
their functions name. A `Hold` remembers what stands in them. Nothing is written where nothing has changed, objects keep
their identity, tensors their storage and their version.
"""

import builtins
import dis
import operator
import random
import sys
import sysconfig
import threading
import warnings
from array import array
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextvars import ContextVar
from functools import cache, partial
from types import BuiltinFunctionType, CellType, CodeType, FunctionType, MemberDescriptorType, MethodType, ModuleType
from typing import Any

import numpy
import torch
from torch import Tensor, nn
from torch.quasirandom import SobolEngine
from torch.utils import data
from torch.utils._pytree import tree_leaves

from ics.shift.errors import ProbeError

LARGEST = 200_000  # objects that a search visits at most: more of them are not a model's state but a program's

_FOREIGN = {*sys.stdlib_module_names, "torch", "numpy", __package__.split(".")[0]} - {"__main__"}
# Modules of the standard library whose objects hold what others put into them.
_HOLDERS = {"argparse", "collections", "queue", "types", "weakref", "_thread", "_weakrefset", "torch.distributions"}
_TENSORS = {Tensor, nn.Parameter, nn.Buffer}
_CONTAINERS = {dict, OrderedDict, list, tuple, set, frozenset, deque, bytearray, array} | _TENSORS
_NUMPY = numpy.random.Generator | numpy.random.BitGenerator | numpy.random.RandomState
_RANDOM = torch.Generator | random.Random | SobolEngine | _NUMPY
_OPEN = (
    nn.Module | Tensor | MethodType | BuiltinFunctionType | CellType | partial | ContextVar | numpy.ndarray | _RANDOM  # type: ignore[type-arg]
)
_PLAIN = (int, float, complex, str, bytes, type(None), torch.dtype, torch.device, torch.Size, ModuleType)
_DATA = data.Dataset | data.DataLoader | data.Sampler  # type: ignore[type-arg]
_SIGNALS = threading.Condition | threading.Event | threading.Semaphore | threading.Barrier | threading.Thread
GENERATORS = random.seed.__self__, numpy.random.get_state.__self__  # type: ignore[attr-defined]
"""Python's and NumPy's generators of random numbers that everyone shares."""

_PACKAGES = (sysconfig.get_path("purelib"), sysconfig.get_path("platlib"))
_RANDOM_MODULES = random, numpy.random
_WHOLE = {1: torch.int8, 2: torch.int16, 4: torch.int32, 8: torch.int64}  # bytes of a number → type of its bits
_ABSENT = object()  # stands for what a name that is free holds
_CLOSED = random.SystemRandom | torch.optim.Optimizer | _DATA


class Place:
    """One thing that holds state: how what it holds is taken, given back, and compared."""

    def __init__(
        self,
        thing: Any,
        take: Callable[[], Any],
        give: Callable[[Any], object],
        equal: Callable[[Any, Any], bool] = operator.eq,
        key: int = 0,  # where a thing has two places
    ) -> None:
        self.thing, self.key, self.take, self._give, self._equal = thing, key or id(thing), take, give, equal

    def same(self, value: Any) -> bool:
        """Whether it holds that value now."""
        return self._equal(self.take(), value)

    def retake(self, value: Any) -> Any:
        """What it holds now; that very value if it is the same."""
        now = self.take()
        return value if self._equal(now, value) else now

    def put(self, value: Any) -> None:
        """Make it hold the value again."""
        if not self.same(value):
            self._give(value)


class TensorPlace(Place):
    """A tensor's values, storage, shape and version."""

    def __init__(self, thing: Tensor) -> None:
        super().__init__(thing, self._look, self._write)

    def _data(self) -> Tensor:
        with torch._C.DisableTorchFunctionSubclass():
            data: Tensor = self.thing.data
            return data

    def _look(self) -> tuple[Tensor, Tensor, Any]:
        alias = self._data()  # the same storage, whatever becomes of the tensor; without graph or version
        version = None if alias.is_inference() else torch.autograd._unsafe_preserve_version_counter(self.thing)  # type: ignore[attr-defined]
        return alias, alias.clone(), version

    def same(self, value: tuple[Tensor, Tensor, Any]) -> bool:
        now = self._data()
        return _is_bound_alike(now, value[0]) and same_bits(now, value[1])

    def retake(self, value: tuple[Tensor, Tensor, Any]) -> tuple[Tensor, Tensor, Any]:
        is_touched = value[2] is None or value[2].prev_versions[0] != self.thing._version  # and need not be compared
        return self._look() if is_touched or not self.same(value) else value

    def put(self, value: tuple[Tensor, Tensor, Any]) -> None:
        super().put(value)
        if value[2] is not None:
            value[2].__exit__()

    def _write(self, value: tuple[Tensor, Tensor, Any]) -> None:
        alias, content, _ = value
        if not _is_bound_alike(self._data(), alias):
            self.thing.data = alias
        if alias.layout == torch.strided and alias.untyped_storage().nbytes() == 0 < content.numel():
            alias.untyped_storage().resize_(content.untyped_storage().nbytes())
        alias.copy_(content)


class Hold:
    """What stood in some places at a moment; what it has in common with one that is `like` it is kept once."""

    def __init__(self, places: Iterable[Place] = (), like: "Hold | None" = None) -> None:
        known = like.values if like is not None else {}
        self.values: dict[int, tuple[Place, Any]] = {}
        for place in places:
            held = known.get(place.key)
            value = place.take() if held is None else place.retake(held[1])
            self.values[place.key] = held if held is not None and value is held[1] else (place, value)

    def __or__(self, other: "Hold") -> "Hold":
        """The other hold, and what this one has beyond it."""
        both = Hold()
        both.values = self.values | other.values
        return both

    def beyond(self, other: "Hold") -> "Hold":
        """What this one does not share with another, of which one was made like the other."""
        new = Hold()
        new.values = {key: held for key, held in self.values.items() if other.values.get(key) is not held}
        return new

    def value(self, tensor: Tensor) -> Tensor:
        """The values that a tensor had."""
        if id(tensor) not in self.values:
            raise ProbeError(
                f"a parameter of type {type(tensor).__name__} cannot be held, so that passes are repeatable"
            )
        content: Tensor = self.values[id(tensor)][1][1]
        return content

    @property
    def places(self) -> list[Place]:
        """The places."""
        return [place for place, _ in self.values.values()]

    def changed(self) -> list[Place]:
        """The places that hold something else now."""
        return [place for place, value in self.values.values() if not place.same(value)]

    def restore(self) -> None:
        """Put everything back."""
        for place, value in self.values.values():
            place.put(value)


def places(roots: Iterable[Any]) -> list[Place]:
    """The places that can be reached from the roots by attributes, items, closures and the globals of functions.

    Of a class, the special methods are followed, and those that other functions name; outside of installed packages all
    of a file where a function looks them up by `getattr`. Left alone: optimizers, data sets, what other threads use as
    well, files, iterators, and what the standard library, torch and NumPy keep for themselves.
    """
    found: list[Place] = []
    seen: dict[int, Any] = {}
    named = {"forward"}
    methods: dict[str, list[FunctionType]] = {}  # that nobody has named yet
    unnamed: set[str | None] = set()  # modules whose functions find methods by other means
    has_threads = threading.active_count() > 1
    queue = list(roots)
    while queue:
        thing = queue.pop()
        if _is_dead(thing) or isinstance(thing, _PLAIN) or id(thing) in seen:
            continue
        if len(seen) == LARGEST:
            warnings.warn(f"of all that the model can reach, {LARGEST:,} objects are held, and no more", stacklevel=2)
            break
        seen[id(thing)] = thing  # kept alive, so that its id stays its own
        is_plain = type(thing) in _CONTAINERS
        if is_plain or not (_is_left_alone(thing) or (has_threads and _is_shared(thing))):
            for place, inside in (_opened(thing),) if is_plain else (_opened(thing), _attributes_of(thing)):
                found += [place] if place else []
                queue.extend(inside)
            if isinstance(thing, FunctionType):
                of_globals, names = _globals_and_names(thing.__code__)
                new = names - named
                named |= new
                queue.extend(method for name in new for method in methods.pop(name, ()))
                if "getattr" in of_globals and not _is_installed(thing) and thing.__module__ not in unnamed:
                    unnamed.add(thing.__module__)
                    here = (m for same in methods.values() for m in same if m.__module__ == thing.__module__)
                    queue.extend([*here])
            elif isinstance(thing, type):
                for name, method in _methods(thing):
                    is_used = name.startswith("__") or name in named or method.__module__ in unnamed
                    (queue if is_used else methods.setdefault(name, [])).append(method)
    return found


def _is_dead(thing: Any) -> bool:
    """Whether a weak proxy has lost its object."""
    try:
        return thing.__class__ is None
    except ReferenceError:
        return True


def _is_left_alone(thing: Any) -> bool:
    """Whether a function, a class or an object, other than a module of a network, is no user's."""
    if isinstance(thing, _CLOSED):
        return True
    if isinstance(thing, _OPEN):
        return False
    named = thing if isinstance(thing, type | FunctionType) else type(thing)
    module = named.__module__
    return _is_foreign(module if isinstance(module, str) else "")  # functions made by exec have none


def _is_shared(thing: Any) -> bool:
    """Whether threads wait for one another by an object: what another one has done to it is not to be undone."""
    inside = () if isinstance(thing, nn.Module | type) else getattr(thing, "__dict__", {}).values()
    return any(isinstance(value, _SIGNALS) for value in inside)


def _is_foreign(module: str) -> bool:
    return module.partition(".")[0] in _FOREIGN and not {module, module.rpartition(".")[0]} & _HOLDERS


def _opened(thing: Any) -> tuple[Place | None, Iterable[Any]]:
    """Where a thing holds state of its own that can be put back, and what can be reached from it in one step."""
    own = partial(Place, thing)
    match thing:
        case dict():
            return own(lambda: (*thing, *thing.values()), partial(_refill, thing), _is_same), thing.values()
        case list() | set() | deque():
            return own(partial(tuple, thing), partial(_refill, thing), _is_same), thing
        case Tensor():
            is_plain = type(thing).__torch_dispatch__ is Tensor.__torch_dispatch__  # no wrapper of other tensors
            return TensorPlace(thing) if is_plain else None, (thing.__dict__, thing._backward_hooks)
        case bytearray() | array():
            return own(lambda: thing[:], partial(operator.setitem, thing, slice(None))), ()
        case torch.Generator():
            return own(thing.get_state, thing.set_state, torch.equal), ()
        case random.Random():
            return own(thing.getstate, thing.setstate), ()
        case numpy.ndarray():
            items = thing.flat if thing.dtype == object else ()
            return own(thing.copy, partial(numpy.copyto, thing), _same_arrays), items
        case numpy.random.RandomState():
            return own(thing.get_state, thing.set_state, _same_arrays), ()
        case numpy.random.BitGenerator():
            return own(partial(getattr, thing, "state"), partial(setattr, thing, "state"), _same_arrays), ()
        case numpy.random.Generator():
            return None, (thing.bit_generator,)
        case tuple() | frozenset():
            return None, thing
        case MethodType():
            return None, (thing.__self__, thing.__func__)
        case BuiltinFunctionType():
            return None, (thing.__self__,)
        case ContextVar():
            return own(partial(thing.get, _ABSENT), partial(_set, thing), _is_same), (thing.get(None),)
        case partial():
            return None, (thing.func, thing.args, thing.keywords)
        case CellType():
            return own(partial(_contents, thing), partial(_fill, thing), _is_same), _contents(thing)
        case FunctionType():
            spaces = list(_spaces(thing))
            held = [space[name] for space, names in spaces for name in names if name in space]
            drawn = GENERATORS if _names_random(thing, held) else ()
            inside = (thing.__defaults__, thing.__kwdefaults__, thing.__closure__, thing.__dict__, *held, *drawn)
            return own(partial(_read, spaces), partial(_write, spaces), _is_same), inside
        case type():
            held = [value for value in vars(thing).values() if not isinstance(value, FunctionType)]
            inside = (*held, *thing.__bases__, type(thing))
            return own(partial(_attributes, thing), partial(_reset, thing), _is_same), inside
    return None, ()


def _attributes_of(thing: Any) -> tuple[Place | None, Iterable[Any]]:
    """The same of an object's attributes: those in no dictionary are a place."""
    if isinstance(thing, FunctionType | type):
        return None, ()
    slots = [slot for kind in type(thing).__mro__ for slot in _slots(kind)]
    take, give = partial(_read_slots, thing, slots), partial(_set_slots, thing, slots)
    inside = (getattr(thing, "__dict__", None), type(thing), *take())
    return Place(thing, take, give, _is_same, key=-id(thing)) if slots else None, inside


@cache
def _globals_and_names(code: CodeType) -> tuple[frozenset[str], frozenset[str]]:
    """What a function and those inside it name: globals; attributes, methods and what is imported."""
    found = [_globals_and_names(inner) for inner in code.co_consts if isinstance(inner, CodeType)]
    own = {str(i.argval) for i in dis.get_instructions(code) if i.opname.endswith(("_GLOBAL", "_NAME"))}
    return frozenset(own).union(*(g for g, _ in found)), frozenset(code.co_names).union(*(n for _, n in found))


def _spaces(function: FunctionType) -> Iterator[tuple[dict[str, Any], list[str]]]:
    """The namespaces of modules that a function looks at, its own first, and the names that it looks for."""
    space = function.__globals__
    of_globals, names = _globals_and_names(function.__code__)
    looked_up = of_globals | space.keys() if "globals" in of_globals else of_globals
    yield space, [name for name in looked_up if name in space or not hasattr(builtins, name)]
    package = space.get("__package__") or ""
    imports = () if _is_installed(function) else (full for name in names for full in (name, f"{package}.{name}"))
    imported = map(sys.modules.get, imports)
    modules, seen = [*map(space.get, of_globals), *imported], list[Any]()
    while modules:
        module = modules.pop()
        if isinstance(module, ModuleType) and not _is_foreign(module.__name__) and module not in seen:
            seen.append(module)
            found = [name for name in names if name in vars(module)]
            yield vars(module), found
            modules += [vars(module)[name] for name in found]


def _is_installed(function: FunctionType) -> bool:
    """Whether a function is part of a package: of these, there is too much to follow all that may be meant."""
    return function.__code__.co_filename.startswith(_PACKAGES)


def _names_random(function: FunctionType, held: Iterable[Any]) -> bool:
    """Whether a function may draw from the generators that everyone shares."""
    return "random" in _globals_and_names(function.__code__)[1] or any(
        value is module for value in held for module in _RANDOM_MODULES
    )


def _read(spaces: Sequence[tuple[dict[str, Any], list[str]]]) -> tuple[Any, ...]:
    return tuple(space.get(name, _ABSENT) for space, names in spaces for name in names)


def _write(spaces: Sequence[tuple[dict[str, Any], list[str]]], values: Iterable[Any]) -> None:
    places = ((space, name) for space, names in spaces for name in names)
    for (space, name), value in zip(places, values, strict=True):
        if value is _ABSENT:
            space.pop(name, None)
        elif space.get(name, _ABSENT) is not value:
            space[name] = value


def _methods(kind: type) -> Iterator[tuple[str, Any]]:
    """The functions that a class defines, those of properties and the like too, by name."""
    for name, value in vars(kind).items():
        for part in ("fget", "__func__", "__wrapped__", None):
            function = getattr(value, part, None) if part else value
            if isinstance(function, FunctionType):
                yield name, function


def _attributes(kind: type) -> tuple[tuple[str, ...], tuple[Any, ...]]:
    """Of what is in a class, what does not define it."""
    inside = [(name, value) for name, value in vars(kind).items() if not name.startswith("__")]
    names = tuple(name for name, value in inside if not hasattr(type(value), "__get__"))
    return names, tuple(vars(kind)[name] for name in names)


def _reset(kind: type, value: tuple[tuple[str, ...], tuple[Any, ...]]) -> None:
    for name in {*_attributes(kind)[0]} - {*value[0]}:
        delattr(kind, name)
    for name, attribute in zip(*value, strict=True):
        setattr(kind, name, attribute)


def _slots(kind: type) -> list[MemberDescriptorType]:
    """The attributes of an object that are in no dictionary."""
    return [v for n, v in vars(kind).items() if isinstance(v, MemberDescriptorType) and not n.startswith("__")]


def _read_slots(thing: Any, slots: Sequence[MemberDescriptorType]) -> tuple[Any, ...]:
    def read(slot: MemberDescriptorType) -> Any:
        try:
            return slot.__get__(thing)
        except AttributeError:
            return _ABSENT

    return tuple(map(read, slots))


def _set_slots(thing: Any, slots: Sequence[MemberDescriptorType], values: Iterable[Any]) -> None:
    for slot, now, value in zip(slots, _read_slots(thing, slots), values, strict=True):
        if value is _ABSENT and now is not _ABSENT:
            slot.__delete__(thing)
        elif value is not now:
            slot.__set__(thing, value)


def _set(variable: "ContextVar[Any]", value: Any) -> None:
    if value is not _ABSENT:  # which cannot be had back
        variable.set(value)


def _contents(cell: CellType) -> tuple[Any, ...]:
    return () if cell == CellType() else (cell.cell_contents,)


def _fill(cell: CellType, contents: tuple[Any, ...]) -> None:
    if contents:
        (cell.cell_contents,) = contents
    else:
        del cell.cell_contents


def _refill(thing: Any, values: Sequence[Any]) -> None:
    """By the plain type's own methods: those of a Counter would add to what is there."""
    plain: Any = next(kind for kind in (OrderedDict, dict, list, set, deque) if isinstance(thing, kind))
    plain.clear(thing)
    if isinstance(thing, dict):
        keys, items = values[: len(values) // 2], values[len(values) // 2 :]
        for key, item in zip(keys, items, strict=True):
            plain.__setitem__(thing, key, item)
    else:
        (plain.update if plain is set else plain.extend)(thing, values)


def _is_same(a: Any, b: Any) -> bool:
    """Identity; equality of what cannot change; and of tuples, part by part."""
    if a is b:
        return True
    if type(a) is not type(b):
        return False
    if type(a) is tuple:
        return len(a) == len(b) and (all(map(operator.is_, a, b)) or all(map(_is_same, a, b)))
    return isinstance(a, int | float | complex | str | bytes) and bool(a == b) and (bool(a) or repr(a) == repr(b))


def _same_arrays(a: Any, b: Any) -> bool:
    """Equality of nested states in which arrays stand."""
    pairs = zip(tree_leaves(a), tree_leaves(b), strict=True)
    return all(x.tobytes() == y.tobytes() if isinstance(x, numpy.ndarray) else x == y for x, y in pairs)


def _is_bound_alike(tensor: Tensor, alias: Tensor) -> bool:
    """Whether a tensor still looks at the same numbers of the same storage."""
    if alias.layout != torch.strided or tensor.layout != torch.strided or alias.is_meta:
        return tensor.layout == alias.layout and tensor.shape == alias.shape
    return bool(tensor.is_set_to(alias))


def same_bits(a: Tensor, b: Tensor) -> bool:
    """Whether two tensors hold the same bits: 0 is not −0, and NaN is NaN."""
    if a.shape != b.shape or a.dtype != b.dtype:
        return False
    try:
        if a.is_complex():
            a, b = torch.view_as_real(a), torch.view_as_real(b)
        if a.is_floating_point():
            a, b = (tensor.view(_WHOLE[tensor.element_size()]) for tensor in (a, b))
        return torch.equal(a, b)
    except (RuntimeError, NotImplementedError):  # a type that cannot be compared counts as changed
        return False
