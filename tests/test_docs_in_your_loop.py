"""Every block of docs/in_your_loop.md runs as it stands, and gives rows."""

import multiprocessing
import re
import textwrap
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from test_shift_attach import Training, check, measured
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint
from zoo import chain

from ics import ShiftProbe

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "in_your_loop.md").read_text(encoding="utf-8")
SECTIONS = dict(section.split("\n", 1) for section in PAGE.split("\n## ")[1:])
BLOCKS = {
    title: textwrap.dedent("".join(re.findall(r"^(?: {4}.*)?\n", text, re.MULTILINE)))
    for title, text in SECTIONS.items()
    if re.search(r"^ {4}", text, re.MULTILINE)
}
ELSEWHERE = {"Lightning", "transformers", "accelerate"}
ALONE = {"A compiled model", "Several processes"}  # they leave threads behind, with which other tests could not fork


def names() -> dict[str, Any]:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, 3))
    batches = [(torch.randn(8, 4), torch.randint(0, 3, (8,))) for _ in range(4)]
    return {
        "torch": torch,
        "ShiftProbe": ShiftProbe,
        "model": model,
        "loss_fn": F.cross_entropy,
        "probe": ShiftProbe(model, F.cross_entropy),
        "optimizer": torch.optim.SGD(model.parameters(), lr=0.1),
        "batches": batches,
        "pairs": list(zip(batches[:2], batches[2:], strict=True)),
        "rows": [],
        "device": "cpu",
        "rank": 0,
    }


@pytest.mark.parametrize("title", sorted(BLOCKS.keys() - ELSEWHERE - ALONE))
def test_a_block_runs_and_gives_rows(title: str, capsys: Any) -> None:
    rows = run_block(title)
    printed = capsys.readouterr().out
    assert "'cosine'" in printed if title == "A plain loop" else len(rows) > 1


@pytest.mark.parametrize("title", sorted(ALONE))
def test_a_block_that_leaves_threads_runs_and_gives_rows(title: str, tmp_path: Path) -> None:
    def work() -> None:
        if title == "A compiled model":
            compile_ = torch.compile
            torch.compile = lambda model: compile_(model, backend="eager")  # type: ignore[assignment]
        else:
            torch.distributed.init_process_group("gloo", init_method=f"file://{tmp_path}/meet", rank=0, world_size=1)
        assert len(run_block(title)) > 1

    process = multiprocessing.get_context("fork").Process(target=work)
    process.start()
    process.join()
    assert process.exitcode == 0


def run_block(title: str) -> list[Any]:
    found = names()
    with warnings.catch_warnings():
        warnings.filterwarnings("error", "step .* gives no row")
        exec(BLOCKS[title], found)
    rows: list[Any] = found.get("rows", [])
    return rows


@pytest.mark.integrations
@pytest.mark.parametrize("title", sorted(ELSEWHERE))
def test_a_block_of_a_trainer_runs(title: str, tmp_path: Path, monkeypatch: Any) -> None:
    import accelerate
    import lightning
    import transformers
    from test_integrations import Rows, gpt2

    class Module(lightning.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.net = chain()

        def training_step(self, batch: Any, index: int) -> Tensor:
            return F.cross_entropy(self.net(batch[0]), batch[1])

        def configure_optimizers(self) -> Any:
            return torch.optim.SGD(self.parameters(), lr=0.1)

    monkeypatch.setenv("TENSORBOARD_LOGGING_DIR", str(tmp_path))
    found = names()
    data = [(torch.randn(6), i % 4) for i in range(16)]
    arguments = {"max_steps": 2, "use_cpu": True, "report_to": ["tensorboard"], "save_strategy": "no"}
    settings = {"max_steps": 2, "default_root_dir": str(tmp_path), "accelerator": "cpu", "enable_checkpointing": False}
    settings["logger"] = lightning.pytorch.loggers.TensorBoardLogger(str(tmp_path))
    if title == "transformers":
        found |= {"model": gpt2(), "arguments": transformers.TrainingArguments(str(tmp_path), **arguments)}
    found |= {
        "lightning": lightning,
        "transformers": transformers,
        "accelerator": accelerate.Accelerator(cpu=True),
        "module": Module(),
        "loader": torch.utils.data.DataLoader(data, batch_size=8),
        "settings": settings,
        "data": Rows(),
    }
    exec(BLOCKS[title], found)
    if title == "accelerate":
        assert found["rows"]
    else:
        assert "cosine" in "".join(path.read_bytes().decode("latin-1") for path in tmp_path.rglob("events.out*"))


def test_the_table_names_tests_that_exist() -> None:
    table = PAGE.partition("<!-- loops -->")[2].partition("<!-- /loops -->")[0]
    files = set(re.findall(r"`(test_\w+\.py)`", table))
    assert len(files) > 3
    assert all((ROOT / "tests" / name).exists() for name in files)


# --- examples of the table that no other test has -----------------------------------------------------------------


class Checkpointed(nn.Module):
    def __init__(self, reentrant: bool = False) -> None:
        super().__init__()
        self.a, self.b, self.c, self.reentrant = nn.Linear(6, 6), nn.Linear(6, 6), nn.Linear(6, 4), reentrant

    def forward(self, x: Tensor) -> Tensor:
        return self.c(checkpoint(lambda h: torch.tanh(self.b(h)), self.a(x), use_reentrant=self.reentrant))


def loop(t: Training) -> None:
    for x, y in t.batches[:3]:
        t.optimizer.zero_grad()
        t.forward(x, y).backward()
        t.update()


@pytest.mark.parametrize("reentrant", [False, True])
def test_gradient_checkpointing(reentrant: bool) -> None:
    training, found, _, said = measured(lambda: Training(lambda: Checkpointed(reentrant)), loop)
    check(training, found, [0, 1, 2])
    assert len(said) == reentrant


def test_channels_last() -> None:
    def build() -> Training:
        body = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 4, 3), nn.Flatten(), nn.Linear(64, 4))
        training = Training(lambda: body.to(memory_format=torch.channels_last))
        training.batches = [
            (torch.randn(8, 3, 8, 8).to(memory_format=torch.channels_last), y) for _, y in training.batches
        ]
        return training

    def fresh() -> Training:
        torch.manual_seed(9)
        return build()

    training, found, _, said = measured(fresh, loop)
    check(training, found, [0, 1, 2])
    assert said == []


def test_bf16_autocast() -> None:
    def under_autocast(t: Training) -> None:
        for x, y in t.batches[:3]:
            t.optimizer.zero_grad()
            with torch.autocast("cpu", dtype=torch.bfloat16):
                loss = t.forward(x, y)
            loss.backward()
            t.update()

    training, found, _, said = measured(Training, under_autocast, verify="always")
    with torch.autocast("cpu", dtype=torch.bfloat16):
        check(training, found, [0, 1, 2])
    assert [row["step"] for row in found[0] if row["l2"] == 0] == [0, 1, 2]
    assert len(found[0]) == 15
    assert said == []


def test_a_loop_in_the_style_of_timm() -> None:
    """Updates only at every second batch, a scaler, clipping, a mean of the weights, a schedule of the rate."""

    def timm(t: Training) -> None:
        scaler, mean = torch.amp.GradScaler("cpu", init_scale=64.0), torch.optim.swa_utils.AveragedModel(t.model)
        schedule = torch.optim.lr_scheduler.StepLR(t.optimizer, 1)
        t.optimizer.zero_grad()
        for i, (x, y) in enumerate(t.batches[:6]):
            scaler.scale(t.forward(x, y) / 2).backward()
            if i % 2:
                scaler.unscale_(t.optimizer)
                nn.utils.clip_grad_norm_(t.model.parameters(), 1.0)
                t.update(lambda: scaler.step(t.optimizer))
                scaler.update()
                t.optimizer.zero_grad()
                mean.update_parameters(t.model)
                schedule.step()

    training, found, _, said = measured(Training, timm)
    check(training, found, [0, 1, 2])
    assert len(said) == 1
    assert "leave 32 times this" in said[0]
