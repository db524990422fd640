"""Situations in which measuring could go wrong, each a training to build, with what becomes of its measurement.

`python tests/situations.py` writes the table of docs/promises.md anew.
"""

import random
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextvars import ContextVar
from dataclasses import dataclass
from enum import Enum
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import habits
import numpy
import torch
from rebuilt import Training
from reference import cross_entropy
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import parametrizations, parametrize, prune
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence
from torch.utils.checkpoint import checkpoint

PAGE = Path(__file__).parents[1] / "docs" / "promises.md"
SITUATIONS: dict[str, tuple[Callable[[], Training], str]] = {}
"""What happens → how it is built; "fast", the layers measured by the definition, or "refused: " and the reason."""


def situation(name: str, expected: str = "fast") -> Callable[[Callable[[], Training]], None]:
    def keep(build: Callable[[], Training]) -> None:
        SITUATIONS[name] = (build, expected)

    return keep


class Net(nn.Module):
    """Modules and other attributes, and a function of them and the batch."""

    def __init__(self, function: Callable[..., Any], **parts: Any) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(4, 4), nn.Linear(4, 3)
        for name, part in parts.items():
            setattr(self, name, part)
        self.function = function

    def forward(self, *x: Any) -> Any:
        return self.function(self, *x)


def tower(*middle: nn.Module) -> nn.Sequential:
    return nn.Sequential(nn.Linear(4, 4), *(middle or (nn.Tanh(),)), nn.Linear(4, 3))


def deep() -> nn.Sequential:
    return nn.Sequential(nn.Linear(4, 4), nn.Tanh(), nn.Linear(4, 4), nn.Tanh(), nn.Linear(4, 3))


# --- state that a pass changes, and random numbers: habits of modules -------------------------------------------------


def of_habit(habit: str) -> Training:
    habits.forget()
    blocks = [habits.Block(habit, []) for _ in range(2)]
    return Training(nn.Sequential(*blocks, nn.Linear(habits.WIDTH, 3)))


for name in habits.SITUATIONS:
    situation(name)(partial(of_habit, name))


@situation("a parameter that the first pass initialises from the data")
def _() -> Training:
    def forward(net: Any, x: Tensor) -> Tensor:
        h = net.a(x)
        if not net.done:
            net.shift.data.copy_(-h.mean(0))
            net.done = True
        return net.b(torch.tanh(h + net.shift))

    return Training(Net(forward, shift=nn.Parameter(torch.zeros(4)), done=False))


@situation("a norm whose running statistics enter the result in training (batch renormalisation)")
def _() -> Training:
    class Renorm(nn.BatchNorm1d):
        def forward(self, x: Tensor) -> Tensor:
            m, v = x.mean(0), x.var(0)
            r, d = (v / self.running_var).sqrt().detach(), (m - self.running_mean).detach()
            with torch.no_grad():
                self.running_mean.lerp_(m, 0.1), self.running_var.lerp_(v, 0.1)
            return (x - m) / v.sqrt() * r + d

    return Training(tower(Renorm(4), nn.ReLU()))


@situation("a counter that calls raise, set back by the code between them")
def _() -> Training:
    seen = torch.zeros(())

    class Counting(nn.Linear):
        def forward(self, x: Tensor) -> Tensor:
            seen.add_(1)
            return super().forward(x)

    def forward(net: Any, x: Tensor) -> Tensor:
        h = net.first(net.a(x))
        seen.zero_()
        return net.b(torch.tanh(net.second(h))) * seen

    return Training(Net(forward, first=Counting(4, 4), second=Counting(4, 4), counter=[seen]))


@situation("state that passes begin to change later, at the first of them")
def _() -> Training:
    def forward(net: Any, x: Tensor) -> Tensor:
        net.scale = net.scale * 1.5 if net.active else net.scale
        return net.b(torch.tanh(net.a(x) * net.scale))

    model = Net(forward, scale=1.0, active=False)
    return Training(model, begin=lambda t, step: setattr(model, "active", step > 1))


# --- where else a pass may keep something: what it multiplies by counts its passes ------------------------------------


def counted(count: Callable[[Any], float], **parts: Any) -> Training:
    return Training(Net(lambda net, x: net.b(torch.tanh(net.a(x) * (1 + 0.1 * count(net)))), **parts))


def raised(owner: Any, name: str = "count") -> float:
    setattr(owner, name, getattr(owner, name, 0) + 1)
    return getattr(owner, name)


class Base:
    """Something of a user's."""


class Derived(Base):
    """What inherits from it."""


@situation("state in class attributes that the first pass makes, one of them inherited")
def _() -> Training:
    for kind in (Base, Derived):
        vars(kind).get("count") and delattr(kind, "count")
    return counted(lambda net: raised(Base) + raised(net.part), part=Derived())


@situation("state in an attribute of a function, and of a parameter")
def _() -> Training:
    def function() -> None:
        pass

    return counted(lambda net: raised(function) + raised(net.b.weight))


@situation("state in a private slot, in a property and in the globals that a method names")
def _() -> Training:
    class Slots:
        __slots__ = ("__count",)

        @property
        def raised(self) -> float:
            self.__count = getattr(self, "_Slots__count", 0) + 1
            return self.__count + self.helped()

        def helped(self) -> float:
            habits.CALLS += 1
            return habits.CALLS

    habits.CALLS = 0
    return counted(lambda net: net.part.raised, part=Slots())


@situation("state in hooks on parameters, and in an attribute of a subclass of Parameter")
def _() -> Training:
    class Special(nn.Parameter):
        pass

    training, calls = counted(lambda net: raised(net.a.weight)), Derived()
    weight = training.model.a.weight = Special(training.model.a.weight.data)
    weight.register_hook(lambda gradient: gradient * (1 + 0.1 * raised(calls)))
    return training


@situation("state in attributes of a list's, a dictionary's and an array's subclass")
def _() -> Training:
    kinds = (type("Listed", (list,), {}), type("Mapped", (dict,), {}), type("Filled", (numpy.ndarray,), {}))
    things = [*(kind() for kind in kinds[:2]), numpy.zeros(1).view(kinds[2])]
    return counted(lambda net: sum(raised(thing, "calls") for thing in net.things), things=things)


@situation("state of a class attribute that can be called, of a descriptor, of an enumeration and of a metaclass")
def _() -> Training:
    class Descriptor(Derived):
        def __get__(self, owner: Any, kind: Any) -> float:
            return raised(self)

    class Meta(type):
        def raised(cls) -> float:
            return raised(Meta)

    class Part(metaclass=Meta):
        norm, described = nn.BatchNorm1d(4), Descriptor()

    stored = Enum("Stored", {"ONE": [0.0]})

    def calls(net: Any) -> float:
        stored.ONE.value[0] += 1
        running = net.part.norm(torch.ones(2, 4)).sum() + net.part.norm.running_mean.sum()
        return net.part.described + type(net.part).raised() + stored.ONE.value[0] + running.item()

    return counted(calls, part=Part())


@situation("state in a frozen object with slots, in an array of objects and in a context variable")
def _() -> Training:
    @dataclass(frozen=True, slots=True)
    class Frozen:
        count: float = 0

    variable: ContextVar[float] = ContextVar("variable")
    variable.set(0)
    objects = numpy.array([Derived(), None], dtype=object)

    def calls(net: Any) -> float:
        object.__setattr__(net.part, "count", net.part.count + 1)
        variable.set(variable.get() + 1)
        return net.part.count + variable.get() + raised(objects[0])

    return counted(calls, part=Frozen(), kept=objects)


@situation("state in another module, in one that a pass imports, by `globals()`, and in a method found by its name")
def _() -> Training:
    import made_up_state

    made_up_state.CALLS = made_up_state.inner.CALLS = made_up_state.LATE = made_up_state.NAMED = 0
    return counted(made_up_state.calls, part=made_up_state.Named())


@situation("a zero that only changes its sign")
def _() -> Training:
    def forward(net: Any, x: Tensor) -> Tensor:
        net.zero.neg_()
        return net.b(torch.tanh(net.a(x) * (1 + torch.copysign(torch.tensor(0.5), net.zero))))

    return Training(Net(forward, zero=torch.zeros(())))


@situation("an engine of Sobol numbers, and a bit generator of NumPy's")
def _() -> Training:
    sobol, bits = torch.quasirandom.SobolEngine(4, scramble=True, seed=0), numpy.random.PCG64(3)
    return counted(lambda net: net.sobol.draw(1).sum() + net.bits.random_raw() / 2**64, sobol=sobol, bits=bits)


@situation("an optimizer that the model steps in every pass", "refused: the model or the loss steps an optimizer")
def _() -> Training:
    part = nn.Linear(4, 4)
    optimizer = torch.optim.SGD(part.parameters(), lr=0.1, momentum=0.9)

    def forward(net: Any, x: Tensor) -> Tensor:
        optimizer.zero_grad()
        part(x).square().mean().backward()
        optimizer.step()
        return net.b(torch.tanh(net.a(x) + part(x).detach()))

    return Training(Net(forward, part=[part]))


# --- what a pass uses, and where --------------------------------------------------------------------------------------


@situation("a head whose weight only the loss uses")
def _() -> Training:
    model = Net(lambda net, x: torch.tanh(net.a(x)))
    return Training(model, lambda out, y: cross_entropy(model.b(out), y))


@situation("parameters that are views of one buffer, registered in another order than they are used")
def _() -> Training:
    model = Net(lambda net, x: net.b(torch.tanh(net.a(torch.tanh(net.c(x))))), c=nn.Linear(4, 4))
    buffer = nn.utils.parameters_to_vector(model.parameters()).detach()
    nn.utils.vector_to_parameters(buffer, model.parameters())
    return Training(model)


@situation("`parametrize.cached()` around forward pass, backward pass and update")
def _() -> Training:
    training = Training(tower(parametrizations.weight_norm(nn.Linear(4, 4)), nn.Tanh()))

    def loss(t: Training, x: Tensor, y: Tensor) -> Tensor:
        with parametrize.cached():
            return cross_entropy(t.model(x), y)

    training.loss = loss
    return training


@situation("a part of the model on no device")
def _() -> Training:
    return Training(Net(lambda net, x: net.b(torch.tanh(net.a(x))), unused=nn.Linear(4, 4, device="meta")))


@situation("a layer that works in another thread", "refused: 'a.weight' has a gradient, but where the pass uses it")
def _() -> Training:
    def forward(net: Any, x: Tensor) -> Tensor:
        with ThreadPoolExecutor(1) as pool:
            return net.b(torch.tanh(pool.submit(net.a, x).result()))

    return Training(Net(forward))


@situation("a layer that the first pass builds", "refused: 'late.weight' was not there when the training pass began")
def _() -> Training:
    def forward(net: Any, x: Tensor) -> Tensor:
        if not hasattr(net, "late"):
            net.late = nn.Linear(4, 4)
        return net.b(torch.tanh(net.late(net.a(x))))

    return Training(Net(forward))


# --- random numbers ---------------------------------------------------------------------------------------------------


@situation("noise that a hook on the model itself adds to the batch")
def _() -> Training:
    model = tower()
    model.register_forward_pre_hook(lambda module, args: (args[0] + torch.randn_like(args[0]),))
    return Training(model)


@situation("a loss that begins to draw random numbers")
def _() -> Training:
    noise = [0.0]

    def loss(out: Tensor, y: Tensor) -> Tensor:
        return cross_entropy(out + torch.randn_like(out) if noise[0] else out, y)

    return Training(deep(), loss, begin=lambda t, step: noise.__setitem__(0, float(step > 1)))


situation("an iterator", "refused: two passes from the same state differ, first in the output of module 'b'")(
    lambda: Training(Net(lambda net, x: net.b(net.a(x) * next(net.numbers)), numbers=count(1)))
)


@situation("random numbers of the system", "refused: two passes from the same state differ, first in the output of")
def _() -> Training:
    system = random.SystemRandom()
    return Training(tower(Net(lambda net, x: x * system.random())))


# --- the loss ---------------------------------------------------------------------------------------------------------


@situation("a loss that closes over a discriminator with spectral norm")
def _() -> Training:
    judge = nn.Sequential(parametrizations.spectral_norm(nn.Linear(3, 5)), nn.Tanh(), nn.Linear(5, 1))
    return Training(tower(), lambda out, y: -judge(out).mean())


@situation("a loss that is a partial with a teacher, moved by every call")
def _() -> Training:
    def loss(teacher: nn.BatchNorm1d, out: Tensor, y: Tensor) -> Tensor:
        return cross_entropy(teacher(out).detach() + out, y) + teacher.running_mean.sum() * out.mean()

    return Training(tower(), partial(loss, nn.BatchNorm1d(3)))


@situation("a loss that is a method of an object with a moving average")
def _() -> Training:
    class Trainer:
        mean = 0.0

        def loss(self, out: Tensor, y: Tensor) -> Tensor:
            self.mean = 0.5 * self.mean + 0.5 * out.mean().item()
            return cross_entropy(out - self.mean * out, y)

    return Training(tower(), Trainer().loss)


@situation("a loss that writes into the output")
def _() -> Training:
    def loss(out: Tensor, y: Tensor) -> Tensor:
        out[:, 0] = -1e4
        return cross_entropy(out, y)

    return Training(tower(), loss, y=lambda: torch.randint(1, 3, (6,)))


@situation("a penalty on activations that hooks collect for the loss")
def _() -> Training:
    seen: list[Tensor] = []
    model = deep()
    for module in (model[1], model[3]):
        module.register_forward_hook(lambda module, args, out: seen.append(out))

    def loss(out: Tensor, y: Tensor) -> Tensor:
        value = cross_entropy(out, y) + torch.stack([a.square().mean() for a in seen]).mean()
        seen.clear()
        return value

    return Training(model, loss)


@situation("a penalty on activations inside a container that sets in later")
def _() -> Training:
    seen: list[Tensor] = []
    now, model = [0], nn.Sequential(nn.Sequential(nn.Linear(4, 4), nn.Tanh()), *tower())
    model[0][1].register_forward_hook(lambda module, args, out: seen.append(out) if now[0] > 1 else None)

    def loss(out: Tensor, y: Tensor) -> Tensor:
        value = cross_entropy(out * (1 + sum(a.mean() for a in seen)), y)
        seen.clear()
        return value

    return Training(model, loss, begin=lambda t, step: now.__setitem__(0, step))


@situation("a penalty on the weights that sets in later")
def _() -> Training:
    weight, model = [0.0], deep()

    def loss(out: Tensor, y: Tensor) -> Tensor:
        return cross_entropy(out, y) + weight[0] * sum(p.square().sum() for p in model.parameters())

    return Training(model, loss, begin=lambda t, step: weight.__setitem__(0, 0.1 * (step > 1)))


# --- the batch --------------------------------------------------------------------------------------------------------


@situation("a model that writes into its batch, of which `observe` is given an untouched copy")
def _() -> Training:
    model = Net(lambda net, x: net.b(torch.tanh(net.a(x.sub_(0.5).mul_(2)))))
    return Training(model, loss=lambda t, x, y: cross_entropy(t.model(x.clone()), y))


situation("a model that writes into its batch, which `observe` is given as well")(
    lambda: Training(Net(lambda net, x: net.b(torch.tanh(net.a(x.sub_(0.5).mul_(2))))))
)

situation("a batch that requires a gradient itself")(
    lambda: Training(tower(), x=lambda: torch.randn(6, 4, requires_grad=True))
)


@situation("a batch that is one dictionary")
def _() -> Training:
    forward = lambda net, batch: net.b(torch.tanh(net.a(batch["x"] * batch["mask"])))  # noqa: E731
    batch = lambda: {"x": torch.randn(6, 4), "mask": torch.rand(6, 4)}  # noqa: E731
    return Training(Net(forward), x=batch, loss=lambda t, x, y: cross_entropy(t.model(x), y))


@situation("a batch that is one packed sequence")
def _() -> Training:
    forward = lambda net, batch: net.b(net.lstm(batch)[1][0][0])  # noqa: E731
    batch = lambda: pack_padded_sequence(torch.randn(4, 6, 4), [4, 3, 3, 2, 1, 1])  # noqa: E731
    training = Training(Net(forward, lstm=nn.LSTM(4, 4)), x=batch, loss=lambda t, x, y: cross_entropy(t.model(x), y))
    del training.model.a
    return training


situation("another batch", "refused: observe was given another batch than the model's last training pass")(
    lambda: Training(tower(), observed=lambda x: x + 1)
)


@situation("sparse matrices")
def _() -> Training:
    model = Net(lambda net, x, graph: graph @ net.b(torch.relu(graph @ net.a(x))))
    return Training(model, x=lambda: (torch.randn(6, 4), (torch.eye(6) / 2).to_sparse()))


@situation("packed sequences between modules")
def _() -> Training:
    def forward(net: Any, x: Tensor, lengths: Tensor) -> Tensor:
        out, _ = net.rnn(pack_padded_sequence(net.a(x), lengths, batch_first=True, enforce_sorted=False))
        return net.b(pad_packed_sequence(out, batch_first=True)[0].mean(1))

    model = Net(forward, rnn=nn.LSTM(4, 4, batch_first=True))
    return Training(model, x=lambda: (torch.randn(6, 3, 4), torch.tensor([3, 1, 2, 3, 2, 1])))


@situation("nested tensors")
def _() -> Training:
    def forward(net: Any, x: Tensor) -> Tensor:
        rows = torch.nested.nested_tensor(list(x.split([1, 2, 3])), layout=torch.jagged)
        return net.b(torch.tanh(net.a(rows))).values()

    return Training(Net(forward))


@situation("complex weights")
def _() -> Training:
    model = Net(lambda net, x: net.b(torch.tanh(net.a(x))).abs()).to(torch.cfloat)
    return Training(model, x=lambda: torch.randn(6, 4, dtype=torch.cfloat))


# --- what runs inside a pass ------------------------------------------------------------------------------------------


@situation("derivatives taken in the forward pass (a force)", "a, b")
def _() -> Training:
    def forward(net: Any, x: Tensor) -> Tensor:
        x = x.detach().requires_grad_()
        return torch.autograd.grad(net.b(torch.tanh(net.a(x))).square().sum(), x, create_graph=True)[0]

    return Training(Net(forward), F.mse_loss, y=lambda: torch.randn(6, 4))


@situation("torch.func in the forward pass", "a, b")
def _() -> Training:
    def forward(net: Any, x: Tensor) -> Tensor:
        weights = dict(net.a.named_parameters())
        return net.b(torch.func.vmap(lambda row: torch.func.functional_call(net.a, weights, (row,)))(x))

    return Training(Net(forward))


@situation("a frozen part in inference mode")
def _() -> Training:
    def forward(net: Any, x: Tensor) -> Tensor:
        with torch.inference_mode():
            h = net.body(x)
        return net.b(torch.tanh(net.a(h.clone())))

    return Training(Net(forward, body=nn.Linear(4, 4).requires_grad_(False)))


@situation("an output changed behind autograd's back, through .data", "b")
def _() -> Training:
    def forward(net: Any, x: Tensor) -> Tensor:
        h = net.a(x)
        h.data.mul_(1.5)
        return net.b(torch.tanh(h))

    return Training(Net(forward))


situation("activation checkpointing, reentrant", "c")(
    lambda: Training(Net(lambda net, x: net.b(checkpoint(net.c, net.a(x), use_reentrant=True)), c=nn.Linear(4, 4)))
)


class Reversible(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, function: Any) -> Tensor:
        ctx.function = function
        ctx.save_for_backward(x)
        with torch.no_grad():
            return x + function(x)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Any:
        x = ctx.saved_tensors[0].detach().requires_grad_()
        with torch.enable_grad():
            torch.autograd.backward(x + ctx.function(x), gradient)
        return x.grad, None


situation("a reversible block that writes .grad in its own backward pass", "c")(
    lambda: Training(Net(lambda net, x: net.b(Reversible.apply(net.a(x), net.c)), c=nn.Linear(4, 4)))
)


@situation("a model that calls itself")
def _() -> Training:
    def forward(net: Any, x: Tensor, depth: int = 1) -> Tensor:
        return net(torch.tanh(net.a(x)), depth - 1) if depth else net.b(x)

    return Training(Net(forward))


@situation("sizes and types of later weights asked for early")
def _() -> Training:
    def forward(net: Any, x: Tensor) -> Tensor:
        assert net.b.weight.size(1) == net.b.weight.numel() // 3
        h = net.a(x.type_as(net.b.weight).to(net.b.weight)) + torch.zeros_like(net.b.weight).sum()
        return net.b(torch.tanh(h))

    return Training(Net(forward))


situation("weight norm on the model itself")(lambda: Training(parametrizations.weight_norm(nn.Linear(4, 3))))


@situation("an optimizer that steps in a hook during the backward pass")
def _() -> Training:
    model = tower()
    optimizer = torch.optim.SGD(model[2].parameters(), lr=0.1)
    model[2].weight.register_post_accumulate_grad_hook(lambda p: optimizer.step())
    return Training(model)


def half(t: Training, x: Tensor) -> Tensor:
    with torch.autocast("cpu", dtype=torch.bfloat16):
        return t.model(x)


@situation("mixed precision, warming up from a rate of zero")
def _() -> Training:
    rate = lambda step: 0.0 if step < 2 else 5.0  # noqa: E731
    return Training(deep(), lr=rate, loss=lambda t, x, y: cross_entropy(half(t, x), y))


@situation("mixed precision, the loss outside of it")
def _() -> Training:
    mix = torch.rand(3, 3)
    score = lambda out, y: cross_entropy(out.float() @ mix, y)  # noqa: E731
    return Training(deep(), score, loss=lambda t, x, y: score(half(t, x), y))


@situation("mixed precision, the backward pass in it")
def _() -> Training:
    def backward(loss: Tensor) -> None:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            loss.backward()  # type: ignore[no-untyped-call]

    return Training(deep(), loss=lambda t, x, y: cross_entropy(half(t, x), y), backward=backward)


# --- changes of the model between steps -------------------------------------------------------------------------------


situation("layers frozen and unfrozen")(
    lambda: Training(tower(), begin=lambda t, step: t.model[0].requires_grad_(step % 2 == 0))
)

situation("a replaced head")(
    lambda: Training(tower(), begin=lambda t, step: setattr(t.model, "2", nn.Linear(4, 3)) if step == 2 else None)
)


@situation("load_state_dict(assign=True) in mid-training")
def _() -> Training:
    other = tower().state_dict()
    return Training(tower(), begin=lambda t, step: t.model.load_state_dict(other, assign=True) if step == 2 else None)


@situation("pruning in mid-training")
def _() -> Training:
    half_of = lambda layer: prune.random_unstructured(layer, "weight", 0.5)  # noqa: E731
    return Training(tower(), begin=lambda t, step: half_of(t.model[2]) if step == 2 else None)


@situation("hooks put on in mid-training")
def _() -> Training:
    model, seen = tower(), []

    def begin(t: Training, step: int) -> None:
        if step == 2:
            model[0].register_forward_hook(lambda module, args, out: seen.append(out.detach()))

    def loss(out: Tensor, y: Tensor) -> Tensor:
        return cross_entropy(out * (1 + (seen.pop().mean() if seen else 0)), y)

    return Training(model, loss, begin=begin)


@situation("a layer that joins later")
def _() -> Training:
    model = Net(lambda net, x: net.b(net.c(net.a(x)) if net.joined else net.a(x)), c=nn.Linear(4, 4), joined=False)
    return Training(model, begin=lambda t, step: setattr(model, "joined", step > 1))


situation("modes changed between the training pass and `observe`")(
    lambda: Training(tower(nn.Dropout()), begin=lambda t, step: t.model.train(), then=lambda t, step: t.model.eval())
)

# --- the loop ---------------------------------------------------------------------------------------------------------


@situation("gradients scaled from some step on, behind an embedding", "refused: all gradients are 2 times those of")
def _() -> Training:
    model = Net(lambda net, x: net.b(torch.tanh(net.a(net.words(x)))), words=nn.Embedding(5, 4))
    step = [0]
    return Training(
        model,
        x=lambda: torch.randint(0, 5, (6,)),
        begin=lambda t, number: step.__setitem__(0, number),
        backward=lambda loss: (loss * (2 if step[0] > 1 else 1)).backward(),
    )


@situation("a term that the loss gains later, of the last layer alone", "refused: the training pass, run again, gives")
def _() -> Training:
    model, step = tower(), [0]
    return Training(
        model,
        begin=lambda t, number: step.__setitem__(0, number),
        backward=lambda loss: (loss + (step[0] > 1) * model[2].weight.square().sum()).backward(),
    )


situation("gradients scaled", "refused: all gradients are 8 times those of the loss")(
    lambda: Training(tower(), backward=lambda loss: (8 * loss).backward())
)

situation("gradients clipped", "refused: all gradients are")(
    lambda: Training(tower(), then=lambda t, step: nn.utils.clip_grad_norm_(t.model.parameters(), 0.01))
)

situation("gradients accumulated", "refused: .grad held another pass's gradients when the training pass began")(
    lambda: Training(tower(), clear=False)
)

situation("optimizer.step() before `observe`, at some steps")(
    lambda: Training(tower(), then=lambda t, step: t.optimizer.step() if step % 2 else None)
)

situation("no gradient in a part of the model", "refused: '0.weight' had no gradient when observe was entered")(
    lambda: Training(tower(), then=lambda t, step: t.model[0].zero_grad())
)

situation("another loss than the training's", "refused: the training pass, run again, gives other gradients")(
    lambda: Training(tower(), loss=lambda t, x, y: cross_entropy(t.model(x).square(), y))
)


def table() -> str:
    """The situations and what becomes of each, as Markdown."""
    lines = ["| situation | measured |", "| --- | --- |"]
    for name, (_, expected) in SITUATIONS.items():
        reason = expected.removeprefix("refused: ")
        slow = "by the definition: " + ", ".join(f"`{layer}`" for layer in expected.split(", "))
        what = "fast" if expected == "fast" else slow if reason == expected else f"refused: “{reason} …”"
        lines.append(f"| {name} | {what} |")
    return "\n".join(lines)


if __name__ == "__main__":
    before, _, rest = PAGE.read_text(encoding="utf-8").partition("<!-- situations -->")
    after = rest.partition("<!-- /situations -->")[2]
    page = f"{before}<!-- situations -->\n\n{table()}\n\n<!-- /situations -->{after}"
    PAGE.write_text(page, encoding="utf-8")
