"""Every block of docs/in_your_loop.md runs as it stands, and gives rows."""

import multiprocessing
import re
import textwrap
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
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
