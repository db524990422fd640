"""The probe in the trainers that people use: `make test-integrations`, an environment with all of them."""

import copy
import warnings
from pathlib import Path
from typing import Any

import pytest
import reference
import torch
from test_shift_attach import check, measured, plain
from test_shift_probe import own_names
from torch import Tensor, nn

from ics import ShiftProbe

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


def test_all_weight_matrices_of_gpt2_have_the_definitions_bits() -> None:
    model, x = gpt2(), tokens()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    batch = {"input_ids": x, "labels": x}

    def loss_fn(outputs: Any, y: Any) -> Tensor:
        return outputs.loss

    order = reference.execution_order(model, batch)
    with ShiftProbe(model, loss_fn) as probe:
        for _ in range(2):
            optimizer.zero_grad()
            start, old = torch.get_rng_state(), copy.deepcopy(model)
            model(**batch).loss.backward()
            with probe.observe(batch, None, keep_gradients=True) as shift:
                optimizer.step()
        # two blocks of four maps; the head shares the embedding's matrix, which is first used as an embedding
        inner = [f"transformer.h.{i}.{name}" for i in range(2) for name in ("attn.c_attn", "attn.c_proj", "mlp.c_fc")]
        assert {row.layer for row in shift.rows} >= set(inner)
        assert len(shift.rows) == 9
        assert probe.unmeasured == ["transformer.wpe.weight"]
        layers = []
        for layer in probe.layers:
            own = own_names(model, layer)
            beside = {own[0].removesuffix("weight") + "bias"}
            layers.append((layer.name, own, [n for n in order[: order.index(own[0])] if n not in beside]))
        expected = reference.shifted_gradients(old, model, loss_fn, batch, None, layers, start)
        for name, _, _ in layers:
            assert torch.equal(shift.gradients[name][1], expected[name][0]), name


class Rows(torch.utils.data.Dataset[Any]):
    def __len__(self) -> int:
        return 24

    def __getitem__(self, i: int) -> Any:
        x = tokens(1, i)[0]
        return {"input_ids": x, "labels": x}


def hugging_face(folder: Path, measure: bool, **options: Any) -> tuple[Any, Any]:
    from transformers import Trainer, TrainingArguments

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
    callback = ShiftCallback(trainer, every=2)
    if measure:
        trainer.add_callback(callback)
    trainer.train()
    return trainer, callback


@pytest.mark.parametrize(
    "options", [{}, {"gradient_accumulation_steps": 2}, {"bf16": True}, {"gradient_checkpointing": True}], ids=str
)
def test_the_trainer_of_transformers(options: dict[str, Any], tmp_path: Path) -> None:
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
    assert not any(m._forward_pre_hooks for m in trainer.model.modules())


def lightning_run(folder: Path, measure: bool, **options: Any) -> tuple[Any, Any, Any]:
    import lightning
    from lightning.pytorch.loggers import CSVLogger

    from ics.integrations.lightning import ShiftCallback

    class Lit(lightning.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.net = nn.Sequential(nn.Linear(6, 6), nn.BatchNorm1d(6), nn.ReLU(), nn.Dropout(0.2), nn.Linear(6, 4))

        def training_step(self, batch: Any, index: int) -> Tensor:
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
def test_the_trainer_of_lightning(options: dict[str, Any], tmp_path: Path) -> None:
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

    from test_shift_attach import Training

    training, found, _, said = measured(Training, loop)
    check(training, found, [0, 1, 2])
    assert said == []


def test_adapters_of_peft_are_measured_and_the_frozen_weights_below_do_not_move() -> None:
    from peft import LoraConfig, get_peft_model

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = get_peft_model(gpt2(), LoraConfig(r=2, target_modules=["c_attn"], fan_in_fan_out=True))
    x, rows = tokens(), []
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=1.0)
    with ShiftProbe(model, lambda outputs, _: outputs.loss) as probe:
        probe.attach(optimizer, to=rows)
        for _ in range(2):
            optimizer.zero_grad()
            model(input_ids=x, labels=x).loss.backward()
            optimizer.step()
        assert all("lora_" in layer.name for layer in probe.layers)
        assert len(probe.layers) == 4
        frozen = {p for p in model.parameters() if not p.requires_grad}
        assert frozen
    assert [row["l2"] for row in rows if row["layer_index"] == 1] == [0, 0]
    assert any(row["l2"] > 0 for row in rows if row["step"] == 1)


def test_the_plain_loop_of_these_tests_is_measured_here_too() -> None:
    from test_shift_attach import Training

    training, found, _, _ = measured(Training, plain)
    check(training, found, [0, 1, 2])
