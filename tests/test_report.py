"""The report: one file with everything in it, whose numbers and verdicts are those of the CSV files."""

import html
import json
import re
import sys
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from made_up_report import built, quick, write_runs
from made_up_runs import SETTINGS, SHIFT, merged, shift_rows, write_run
from programs import ROOT, program

from ics.analysis import load_runs
from ics.analysis.claims import words
from ics.analysis.claims.catalogue import claims_table, names
from ics.analysis.claims.covariate_shift import CLAIM
from ics.analysis.claims.judge import COLUMNS
from ics.analysis.seeds import over_seeds
from ics.errors import UserError
from ics.figures.catalogue import select
from ics.report import explorer, images, page
from ics.report.answer import answer
from ics.report.closing import NEXT, closing
from ics.report.maps import maps

ASSETS = ROOT / "ics" / "report" / "assets"

main = program("report")


class Page(HTMLParser):
    """What a browser would fetch, where links lead, and the verdicts of the claims."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.fetched: list[str] = []
        self.links: list[str] = []
        self.ids: set[str] = set()
        self.rows: list[tuple[str, str]] = []
        self.unclosed: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        if tag == "a":
            self.links.append(given["href"])
        self.fetched += [given[name] for name in ("src", "srcset", "data", "poster", "action") if name in given]
        self.fetched += [given["href"]] if tag == "link" else []
        self.ids |= {given["id"]} if "id" in given else set()
        if "data-claim" in given:
            self.rows.append((given["data-claim"], given["data-verdict"]))


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("runs")
    write_runs(root)
    return root


@pytest.fixture(scope="module")
def report(runs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("report") / "below" / "report.html"
    with pytest.MonkeyPatch.context() as patch:
        quick(patch)
        assert main(["--runs", str(runs), "--out", str(out)]) == 0
    return out


def test_the_first_command_closes_with_the_answer_and_where_things_are(runs: Path, tmp_path: Path) -> None:
    loaded = load_runs(runs)
    claims = claims_table(loaded, names())
    (tmp_path / "one.png").touch()
    lines = closing(loaded, claims, tmp_path / "report.html", tmp_path).splitlines()
    said = answer(claims)
    assert lines[1] == "Does batch normalisation reduce internal covariate shift?"
    assert lines[3].startswith(said.short)
    assert sum(line.endswith(":") and ", rate " in line for line in lines) == len(said.settings) > 0
    assert f"{len(loaded.settings)} runs, " in "\n".join(lines)
    assert f"  the page for these runs: {tmp_path / 'report.html'}" in lines
    assert any(line.startswith("  1 figures, ") for line in lines)
    commands = lines[lines.index("Next:") + 1 :]
    assert [command.split("  ")[1] for command in commands] == list(NEXT)
    assert not [line for line in lines if line.startswith("error") or len(line) > 200]


def text_of(report: Path) -> str:
    return report.read_text(encoding="utf-8")


# ---- The page ----


def test_it_is_one_small_file_that_fetches_nothing(report: Path) -> None:
    assert [path.name for path in report.parent.iterdir()] == ["report.html"]
    assert report.stat().st_size <= page.MAX_BYTES
    found = Page(text_of(report))
    assert len(found.fetched) == 4  # figures
    assert all(address.startswith("data:image/webp;base64,") for address in found.fetched)
    assert [link for link in found.links if not link.startswith("#")] == ["https://arxiv.org/abs/1805.11604"]
    assert {link.removeprefix("#") for link in found.links if link.startswith("#")} <= found.ids
    assert "default-src 'none'" in text_of(report)
    own = "".join(path.read_text() for path in ASSETS.iterdir())
    assert not re.search(r"@import|url\(|fetch\(|XMLHttpRequest|import\(|WebSocket", own)


def test_it_is_the_same_to_the_byte(runs: Path, report: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    quick(monkeypatch)
    again = built(runs)
    assert again == text_of(report)


def test_the_verdicts_are_the_claims(runs: Path, report: Path) -> None:
    table = claims_table(load_runs(runs), names())
    judged = table[(table["headline"] == 1) & (table["n"] > 0)]
    assert len(judged) > 20
    assert Page(text_of(report)).rows == list(zip(judged["claim"], judged["verdict"], strict=True))
    text = html.unescape(text_of(report))
    for row in table[table["n"] > 0].to_dict("records"):
        assert words.found(row) in text
        assert str(row["rule"]) in text or not row["headline"]
        assert row["papers_curves"] != "disagree" or not row["headline"] or words.papers_curves(row) in text
    assert "“" not in text  # quotes are elements
    assert "<q>the standard network experiences almost no ICS for the entirety of training</q>" in text


def test_figures_come_with_how_to_read_them(report: Path) -> None:
    text = html.unescape(text_of(report))
    for title in ("Figure 4. VGG-16, width ×1, on cifar10, 15,000 steps", "Figure 3(b). 25-layer deep linear network"):
        assert f"<h3>{title}" in text
    assert text.count("<figcaption>How to read: ") == text.count('class="drawn"') == 4
    assert "python scripts/figures.py fig3a" in text
    assert "Figure 2." not in text
    assert "the runs for fig2 are missing; make them with: python scripts/train.py -m experiment=fig2 scale=cpu" in text


def test_it_says_where_the_numbers_come_from(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for seed in range(2):
        folder = write_run(
            tmp_path, f"v/seed{seed}", merged(SETTINGS, {"seed": seed}), data_label="cifar10-jpeg", state="done"
        )
        told = {
            "command": "c",
            "commit": "0123456789abcdef",
            "data_label": "cifar10-jpeg",
            "python": "3.11.7",
            "packages": {"torch": "2.15.0"},
            "platform": "Linux x86_64",
            "device": "NVIDIA X",
            "threads": 2,
        }
        (folder / "provenance.json").write_text(json.dumps(told))
        (folder / "status.json").write_text(json.dumps({"state": "done", "step": 1, "error": None, "seconds": 1800}))
    write_run(tmp_path, "v/seed2", merged(SETTINGS, {"seed": 2}), state="running")
    quick(monkeypatch)
    with pytest.warns(UserWarning, match="1 running"):
        text = built(tmp_path)
    for part in (
        "cifar10-jpeg, vgg",
        "NVIDIA X, 2 threads, Linux x86_64; 1 h in all",
        "torch 2.15.0",
        "commit 0123456789",
        "2 seeds; 200 steps",
        "1 unfinished left out",
    ):
        assert part in text
    assert "<form" not in text  # one kind of network: nothing to compare
    assert "vegaEmbed(" in text


# ---- The answer ----


def verdicts(*found: float) -> pd.DataFrame:
    rows = [
        {"claim": CLAIM, "headline": 1, "n": 3, "holds": holds, "text": "t", "lr": 10.0**-i, "unit": "log10 ratio",
         "scale_title": "S", "network": "N", "quantity": "ics_l2", "effect": 1.0}
        for i, holds in enumerate(found)
    ]  # fmt: skip
    return pd.DataFrame(rows, columns=list(COLUMNS))


NO, YES, OPEN = 1, 0, float("nan")  # the claim is that the shift is not reduced


@pytest.mark.parametrize(
    ("found", "short", "shift"),
    [
        (
            [NO, NO],
            "No.",
            "In all 2 comparisons that these runs decide, the shift is no smaller with batch normalisation: "
            "N (learning rate 1 and 0.1).",
        ),
        (
            [YES, OPEN],
            "Yes, wherever these runs decide it.",
            "In the one comparison that these runs decide, the shift is smaller with batch normalisation: "
            "N (learning rate 1). Undecided: 1.",
        ),
        (
            [NO, NO, YES],
            "Mostly not.",
            "In 2 of the 3 comparisons that these runs decide, the shift is no smaller with batch normalisation: "
            "N (learning rate 1 and 0.1). It is smaller in 1: S (learning rate 0.01), by ‖G − G′‖₂: ×10.0.",
        ),
        (
            [YES, NO, YES],
            "Mostly.",
            "In 2 of the 3 comparisons that these runs decide, the shift is smaller with batch normalisation: "
            "N (learning rate 1 and 0.01). It is no smaller in 1: S (learning rate 0.1), by ‖G − G′‖₂: ×10.0.",
        ),
        ([OPEN], "These runs do not decide it.", "Undecided: 1."),
    ],
)
def test_the_answer_follows_from_the_verdicts(found: list[float], short: str, shift: str) -> None:
    given = answer(verdicts(*found))
    assert (given.short, given.sentence) == (short, shift)
    assert len(given.settings) == len(found)
    assert [cell is None for cell in given.settings[0][2]] == [False, True, True]


def test_no_answer_without_evidence() -> None:
    digits = verdicts(NO).assign(data="digits")
    for given in (answer(digits), answer(verdicts())):
        assert given.short == "These runs do not decide it."
        assert given.sentence == "There are no runs of both kinds of network yet."
        assert not given.settings


# ---- The explorer's numbers ----


def test_the_explorer_holds_the_tables(runs: Path) -> None:
    loaded = load_runs(runs)
    data = explorer.explorer_data(loaded)
    assert list(data["arms"]) == ["standard", "batch"]
    vgg, dln = data["scales"]
    assert vgg["title"].startswith("VGG-16, width ×1, on cifar10")
    assert dln["title"].startswith("25-layer deep linear network")
    assert vgg["first"] == [5, 10]
    rows = loaded["shift"]
    rows = rows[rows["model.name"] == "vgg"]
    ours = [curve for curve in vgg["curves"] if "n" in curve]
    assert len(ours) == 4 * 2 * 2 * 2  # measures, arms, rates, layers
    for curve in ours:
        own = rows[np.isclose(rows["optimizer.lr"], curve["rate"], atol=0) & (rows["arm"] == curve["arm"])]
        own = own[own["layer_index"] == curve["layer"]]
        expected = over_seeds(own, curve["metric"])
        assert curve["n"] == 3
        for name in ("median", "low", "high"):
            assert curve[name] == pytest.approx(expected[name].tolist(), rel=0.005)
    papers = [curve for curve in vgg["curves"] if "n" not in curve]
    assert {(c["metric"], c["layer"]) for c in papers} == {("l2", 5), ("cosine", 5), ("cosine", 10)}
    assert all(max(curve["steps"]) <= vgg["steps"][-1] for curve in papers)


def test_the_maps_hold_the_medians(runs: Path) -> None:
    loaded = load_runs(runs)
    found = {one["title"]: one["chart"] for one in maps(loaded)}
    assert len(found) == 2 * 2 * 2  # networks, rates, measures
    title = next(title for title in found if title.startswith("cos∠(G, G′): VGG-16") and title.endswith("rate 0.1"))
    cells = pd.DataFrame(found[title]["data"]["values"]).set_index(["layer", "step"])
    end = min(set(cells.index.get_level_values("step")) - {0}, default=10**6)  # of the first cell
    rows = loaded["shift"].query(f"`model.name` == 'vgg' and `optimizer.lr` == 0.1 and step < {end}")
    medians = rows.groupby(["arm", "layer_index", "seed"], observed=True)["cosine"].median()
    for (arm, layer), expected in medians.groupby(level=[0, 1], observed=True).median().items():
        assert cells.loc[(layer, 0), arm] == pytest.approx(expected, rel=0.005)


def test_a_sweep_over_something_else_is_not_in_the_explorer(tmp_path: Path) -> None:
    for width in range(5):
        for norm in ("none", "batch"):
            change = {"experiment": "widths", "model": {"name": "mlp", "width": width}, "norm": {"name": norm}}
            write_run(tmp_path, f"w/{width}{norm}", merged(SETTINGS, change))
    assert explorer.explorer_data(load_runs(tmp_path))["scales"] == []


def test_the_explorer_is_thinned_to_fit(runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    loaded = load_runs(runs)
    whole = explorer.explorer_data(loaded)["scales"][1]["steps"]
    monkeypatch.setattr(explorer, "POINTS", (200, 3))
    monkeypatch.setattr(explorer, "MAX_BYTES", 1)
    thinned = explorer.explorer_data(loaded)["scales"][1]["steps"]
    assert thinned == whole[:: -(-len(whole) // 3)]
    assert len(thinned) <= 3 < len(whole)


def test_curves_have_the_steps_that_all_runs_measured(tmp_path: Path) -> None:
    for norm, every in (("none", 100), ("batch", 50)):
        rows = {SHIFT: shift_rows([1.0] * 5, steps=range(0, 5 * every, every))}
        write_run(tmp_path, f"v/{norm}/seed0", merged(SETTINGS, {"norm": {"name": norm}}), rows)
    lost = {SHIFT: shift_rows([1.0], steps=[0])}
    write_run(tmp_path, "v/none/seed1", merged(SETTINGS, {"seed": 1, "norm": {"name": "none"}}), lost, "diverged")
    (scale,) = explorer.explorer_data(load_runs(tmp_path))["scales"]
    assert scale["steps"] == [0, 100, 200]
    ours = [curve for curve in scale["curves"] if curve["metric"] == "l2" and curve["layer"] == 5 and "n" in curve]
    standard, batch = sorted(ours, key=lambda curve: curve["arm"], reverse=True)
    assert (standard["n"], standard["median"], standard["lost"]) == (2, [1, 1, 1], [(0, 1.0)])
    assert (batch["n"], batch["median"], batch["lost"]) == (1, [1, 1, 1], [])


def test_deep_networks_keep_the_papers_layers() -> None:
    assert explorer._chosen(list(range(1, 17)), {5, 10}) == list(range(1, 17))
    assert explorer._chosen(list(range(1, 26)), {8, 17}) == sorted({*range(1, 26, 2), 8, 17})


# ---- Size ----


def test_figures_are_as_sharp_as_fits(runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(images, "QUALITIES", ((80, 16, 1000), (40, 8, 500)))
    loaded, (fig4,) = load_runs(runs), select("fig4")
    if sys.platform == "linux":  # a figure stays in its process: some functions cannot be sent to another
        monkeypatch.setattr("ics.processes.cores", lambda: 2)
    sharp, missing = images.draw_images([replace(fig4, draw=lambda found: fig4.draw(found))], loaded)
    assert not missing
    monkeypatch.setattr(images, "MAX_BYTES", 999)
    (less,) = images.draw_images(select("fig4"), loaded)[0]
    assert len(less["image"]) < len(sharp[0]["image"])
    assert (less["width"], less["height"]) == (sharp[0]["width"], sharp[0]["height"])
    assert less["title"] == "Figure 4. VGG-16, width ×1, on cifar10, 15,000 steps, lr 0.1"
    assert less["how_to_read"].startswith("How to read: at a training step")


def test_a_page_that_is_too_large_is_refused(
    runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(page, "draw_images", lambda *_: ([], []))
    monkeypatch.setattr(page, "MAX_BYTES", 1000)
    out = tmp_path / "report.html"
    assert main(["--runs", str(runs), "--out", str(out)]) == 2
    assert re.search(r"error: the page would have [\d,]+ bytes, more than 1,000", capsys.readouterr().err)
    assert not out.exists()


# ---- The program ----


def test_missing_runs_name_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "report.html"
    assert main(["--runs", str(tmp_path / "nowhere"), "--out", str(out)]) == 2
    assert "python scripts/train.py -m experiment=quick makes runs" in capsys.readouterr().err
    assert not out.exists()
    write_run(tmp_path / "runs", "other/seed0", merged(SETTINGS, {"model": {"name": "mlp"}}))
    assert main(["--runs", str(tmp_path / "runs"), "--out", str(out)]) == 0
    told = capsys.readouterr()
    assert told.out.strip() == str(out)
    line = f"make them with: python scripts/train.py -m experiment=fig3_dln runs={tmp_path / 'runs'}"
    assert line in told.err
    text = html.unescape(text_of(out))
    assert "These runs do not decide it." in text
    assert "no runs; make them with: python scripts/train.py -m experiment=fig3_vgg scale=cpu" in text
    assert "<h3>Not drawn</h3>" in text


@pytest.mark.parametrize("module", ["jinja2", "vl_convert"])
def test_without_the_extra_one_line_says_so(module: str, monkeypatch: pytest.MonkeyPatch, runs: Path) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    monkeypatch.setattr(page, "draw_images", lambda *_: ([], []))
    with pytest.raises(
        UserError, match=rf"^the report needs {module}; install it with: pip install -e '\.\[report\]'$"
    ):
        built(runs)
