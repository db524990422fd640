"""The probe in the trainers that people use: `make test-integrations`, an environment with all of them."""

import copy
import json
import struct
import warnings
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from reference import compare_with_definition, cross_entropy
from test_shift_attach import Training, assert_exact, check, gradients_of, plain
from torch import Tensor, nn

from ics import ShiftProbe
from ics.shift.attach import sink
from ics.shift.metrics import METRICS
from ics.shift.watcher import Hook

pytestmark = pytest.mark.integrations


def weights_equal(one: nn.Module, other: nn.Module) -> bool:
    return all(torch.equal(a, b) for a, b in zip(one.parameters(), other.parameters(), strict=True))


def gpt2() -> Any:
    from transformers import GPT2Config, GPT2LMHeadModel

    torch.manual_seed(0)
    config = GPT2Config(vocab_size=37, n_positions=16, n_embd=16, n_layer=2, n_head=2, use_cache=False)
    return GPT2LMHeadModel(config)


def tokens(count: int = 4, seed: int = 1) -> Tensor:
    return torch.randint(0, 37, (count, 8), generator=torch.Generator().manual_seed(seed))


def mixtral() -> Any:
    from transformers import MixtralConfig, MixtralForCausalLM

    torch.manual_seed(0)
    heads = {"num_hidden_layers": 2, "num_attention_heads": 2, "num_key_value_heads": 1}
    experts = {"intermediate_size": 12, "num_local_experts": 3, "num_experts_per_tok": 2}
    return MixtralForCausalLM(MixtralConfig(vocab_size=37, hidden_size=16, use_cache=False, **heads, **experts))


def lora() -> Any:
    from peft import LoraConfig, get_peft_model

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return get_peft_model(gpt2(), LoraConfig(r=2, target_modules=["c_attn"], fan_in_fan_out=True))


# Of each block; the head of GPT-2 shares the matrix of its embedding, which is first used as an embedding.
GPT2_BLOCK = ["attn.c_attn", "attn.c_proj", "mlp.c_fc", "mlp.c_proj"]
ATTENTION = [f"self_attn.{name}_proj" for name in "qkvo"]
MIXTRAL_BLOCK = [*ATTENTION, "mlp.gate", "mlp.experts.gate_up_proj", "mlp.experts.down_proj"]


LORA = [f"base_model.model.transformer.h.{i}.attn.c_attn.lora_{side}.default" for i in range(2) for side in "AB"]
MODELS = {
    "gpt2": (gpt2, ["lm_head", *(f"transformer.h.{i}.{n}" for i in range(2) for n in GPT2_BLOCK)], ["transformer.wpe"]),
    "mixtral": (
        mixtral,
        [*(f"model.layers.{i}.{n}" for i in range(2) for n in MIXTRAL_BLOCK), "lm_head"],
        ["model.embed_tokens"],
    ),
    "lora": (lora, LORA, []),  # the frozen base neither moves nor is measured
}


@pytest.mark.parametrize("name", MODELS)
def test_all_weight_matrices_have_the_definitions_bits(name: str) -> None:
    make_model, names, unmeasured = MODELS[name]
    model, x = make_model(), tokens()
    update = torch.optim.AdamW(model.parameters(), lr=1e-2).step
    batch = {"input_ids": x, "labels": x}
    step = compare_with_definition(model, batch, update, lambda outputs, y: outputs.loss)
    assert [row.layer for row in step.rows] == names
    assert step.probe.unmeasured == [f"{embedding}.weight" for embedding in unmeasured]


class Rows(torch.utils.data.Dataset[Any]):
    def __len__(self) -> int:
        return 24

    def __getitem__(self, i: int) -> Any:
        x = tokens(1, i)[0]
        return {"input_ids": x, "labels": x}


def hugging_face(folder: Path, measure: bool, **options: Any) -> tuple[Any, Any]:
    from transformers import Trainer, TrainerCallback, TrainingArguments

    from ics.integrations.transformers import ShiftCallback

    settings = {
        "max_steps": 3,
        "per_device_train_batch_size": 4,
        "report_to": [],
        "disable_tqdm": True,
        "use_cpu": True,
        "save_strategy": "no",
        "seed": 3,
        "logging_steps": 1,
    }
    trainer = Trainer(gpt2(), TrainingArguments(str(folder), **settings | options), train_dataset=Rows())
    steps: list[Any] = []
    passes: list[Any] = []

    class Record(TrainerCallback):  # type: ignore[misc,unused-ignore]
        def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            def begin(model: nn.Module, args: Any, given: Any) -> None:
                passes.append((given, None, torch.get_rng_state()))

            optimizer, old = kwargs["optimizer"].optimizer, []
            trainer.model.register_forward_pre_hook(begin, with_kwargs=True)
            optimizer.register_step_pre_hook(lambda *_: old.append(copy.deepcopy(trainer.model)))
            optimizer.register_step_post_hook(
                lambda *_: steps.append((old.pop(), copy.deepcopy(trainer.model), list(passes)))
            )

        def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            passes.clear()

    trainer.add_callback(Record())
    callback = ShiftCallback(trainer, every=2)
    if measure:
        trainer.add_callback(callback)
    trainer.train()
    callback.steps = steps
    return trainer, callback


@pytest.mark.parametrize(
    "options", [{}, {"gradient_accumulation_steps": 2}, {"bf16": True}, {"gradient_checkpointing": True}], ids=str
)
def test_the_trainer_of_transformers(options: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gradients, probes = gradients_of(monkeypatch)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        trainer, callback = hugging_face(tmp_path, True, **options)
    # Without a word, G is what the trainer's own backward passes left, and so are batches and loss the trainer's.
    assert not [w for w in caught if "computed anew" in str(w.message) or "gives no row" in str(w.message)]
    twin, _ = hugging_face(tmp_path, False, **options)
    assert weights_equal(trainer.model, twin.model)
    assert [(row["step"], row["layer_index"]) for row in callback.rows] == [
        (s, i) for s in (0, 2) for i in range(1, 10)
    ]
    logged = [entry for entry in trainer.state.log_history if "shift/cosine/transformer.h.1.mlp.c_fc" in entry]
    assert len(logged) == 2
    assert not any(isinstance(hook, Hook) for m in trainer.model.modules() for hook in m._forward_pre_hooks.values())
    if "bf16" not in options:  # the oracle knows no autocast
        training = SimpleNamespace(model=trainer.model, steps=callback.steps)
        check(training, [callback.rows, gradients, probes[0]._layers], [0, 2], loss_fn=lambda out, _: out.loss)


def lightning_run(folder: Path, measure: bool, **options: Any) -> tuple[Any, Any, Any]:
    import lightning
    from lightning.pytorch.loggers import CSVLogger

    from ics.integrations.lightning import ShiftCallback

    class Lit(lightning.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.net = nn.Sequential(nn.Linear(6, 6), nn.BatchNorm1d(6), nn.ReLU(), nn.Dropout(0.2), nn.Linear(6, 4))
            self.passes, self.steps = [], []

        def optimizer_step(self, *args: Any) -> None:
            old = copy.deepcopy(self.net)
            super().optimizer_step(*args)
            self.steps.append((old, copy.deepcopy(self.net), self.passes))
            self.passes = []

        def training_step(self, batch: Any, index: int) -> Tensor:
            self.passes.append((*batch, torch.get_rng_state()))
            return nn.functional.cross_entropy(self.net(batch[0]), batch[1])

        def configure_optimizers(self) -> Any:
            return torch.optim.SGD(self.parameters(), lr=0.1, momentum=0.9)

    lightning.seed_everything(1, verbose=False)
    data = [(torch.randn(6), int(i % 4)) for i in range(48)]
    callback = ShiftCallback("net", lambda out, batch: nn.functional.cross_entropy(out, batch[1]), every=2)
    trainer = lightning.Trainer(
        max_steps=3,
        accelerator="cpu",
        logger=CSVLogger(str(folder)),
        log_every_n_steps=1,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=[callback] if measure else [],
        **options,
    )
    model = Lit()
    trainer.fit(model, torch.utils.data.DataLoader(data, batch_size=8))
    return model, callback, trainer


@pytest.mark.parametrize(
    "options",
    [{}, {"gradient_clip_val": 0.01}, {"accumulate_grad_batches": 2}, {"precision": "bf16-mixed"}],
    ids=str,
)
def test_the_trainer_of_lightning(options: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gradients, probes = gradients_of(monkeypatch)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model, callback, trainer = lightning_run(tmp_path, True, **options)
    said = [
        str(w.message) for w in caught if "G is computed anew" in str(w.message) or "gives no row" in str(w.message)
    ]
    # Without a word, G is what Lightning's own backward pass left, and so are batch and loss Lightning's.
    assert len(said) == ("accumulate_grad_batches" in options)
    assert all("leave 0.5 times this" in text for text in said)
    twin, _, _ = lightning_run(tmp_path, False, **options)
    assert weights_equal(model, twin)
    assert [(row["step"], row["layer"]) for row in callback.rows] == [(s, i) for s in (0, 2) for i in ("0", "4")]
    assert all((row["l2"] == 0) == (row["layer"] == "0") for row in callback.rows)
    if "precision" not in options:  # the oracle knows no autocast
        training = SimpleNamespace(model=model.net, steps=model.steps)
        check(training, [callback.rows, gradients, probes[0]._layers], [0, 2])
    assert "shift/cosine/4" in (Path(trainer.logger.log_dir) / "metrics.csv").read_text()


def test_accelerate() -> None:
    from accelerate import Accelerator

    def loop(t: Any) -> None:
        accelerator = Accelerator(cpu=True)
        model, optimizer = accelerator.prepare(t.model, t.optimizer)
        for x, y in t.batches[:3]:
            optimizer.zero_grad()
            accelerator.backward(t.forward(x, y, model))
            accelerator.clip_grad_norm_(model.parameters(), 0.01)
            t.update(optimizer.step)

    assert_exact(Training, loop)


def curves(folder: Path) -> dict[str, list[tuple[int, float]]]:
    """What TensorBoard shows: tag → steps and values."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    found: dict[str, list[tuple[int, float]]] = {}
    for file in folder.rglob("events.out*"):
        events = EventAccumulator(str(file))
        events.Reload()
        for tag in events.Tags()["scalars"]:
            found.setdefault(tag, []).extend((event.step, event.value) for event in events.Scalars(tag))
    return found


def test_tensorboard(tmp_path: Path) -> None:
    from torch.utils.tensorboard import SummaryWriter

    writer = SummaryWriter(str(tmp_path))
    rows = attached_rows(writer)
    writer.close()
    assert curves(tmp_path) == {
        f"shift/{metric}/{layer}": [(row["step"], pytest.approx(row[metric])) for row in rows if row["layer"] == layer]
        for metric in METRICS
        for layer in {row["layer"] for row in rows}
    }


def test_weights_and_biases(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import wandb
    from wandb.proto.wandb_internal_pb2 import Record

    monkeypatch.setenv("WANDB_MODE", "offline")
    with wandb.init(project="shift", dir=str(tmp_path), settings=wandb.Settings(console="off")) as run:
        rows = attached_rows(run)
    (path,) = tmp_path.rglob("*.wandb")
    logged = []
    for record in map(Record.FromString, in_log(path.read_bytes())):
        if record.HasField("history"):
            items = record.history.item
            logged.append({i.key or "/".join(i.nested_key): json.loads(i.value_json) for i in items})
    assert [entry["shift/step"] for entry in logged] == [0, 2]
    for row in rows:
        entry = logged[row["step"] // 2]
        assert [entry[f"shift/{metric}/{row['layer']}"] for metric in METRICS] == [row[metric] for metric in METRICS]


def in_log(data: bytes) -> Iterator[bytes]:
    """The records of a file in LevelDB's log format, behind the 7 bytes that W&B begins it with."""
    at, record = 7, b""
    while at + 7 <= len(data):
        if (room := 32768 - at % 32768) < 7:
            at += room
            continue
        length, kind = struct.unpack_from("<HB", data, at + 4)
        record += data[at + 7 : at + 7 + length]
        at += 7 + length
        if kind in (1, 4):  # a whole one, or the last part of one
            yield record
            record = b""


def attached_rows(to: Any) -> list[Any]:
    """The rows of a plain loop that has sent them to `to` as well."""
    training, rows = Training(), []
    send = sink(to)
    with ShiftProbe(training.model, cross_entropy) as probe:
        probe.attach(training.optimizer, every=2, to=lambda found: (rows.extend(found), send(found)))
        training.loss = probe.loss
        plain(training)
    return rows


def test_the_plain_loop_of_these_tests_is_measured_here_too() -> None:
    assert_exact(Training, plain)
