"""The report in a real browser, headless Chromium (Debian: chromium, chromium-driver); skipped where there is none."""

import base64
import io
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from made_up_report import built, quick, write_runs
from PIL import Image

from ics.analysis import load_runs
from ics.analysis.markdown import number
from ics.analysis.seeds import over_seeds

CHROMIUM, DRIVER = (shutil.which(name) for name in ("chromium", "chromedriver"))
pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(not (CHROMIUM and DRIVER), reason="no chromium and chromedriver on this machine"),
]
FLAGS = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync --hide-scrollbars"
)
PATIENCE = 60  # seconds; two cores may be busy


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("runs")
    write_runs(root)
    return root


@pytest.fixture(scope="module")
def browser(runs: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    from selenium import webdriver

    folder = tmp_path_factory.mktemp("browser")
    with pytest.MonkeyPatch.context() as patch:
        quick(patch)
        (folder / "report.html").write_text(built(runs), encoding="utf-8")
    options = webdriver.ChromeOptions()
    for flag in (*FLAGS.split(), f"--user-data-dir={folder / 'user'}"):
        options.add_argument(flag)
    options.binary_location = str(CHROMIUM)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(str(DRIVER)))
    driver.get("about:blank")
    driver.get_log("performance")
    driver.address = f"file://{folder / 'report.html'}"
    yield driver
    driver.quit()


def opened(browser: Any, width: int = 1200, dark: bool = False) -> Any:
    """The browser with the page loaded and the explorer drawn."""
    size = {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": width < 500}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    wishes = {"prefers-color-scheme": "dark" if dark else "light", "prefers-reduced-motion": "reduce"}
    features = [{"name": name, "value": value} for name, value in wishes.items()]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
    browser.get(browser.address)
    until(browser, lambda: browser.execute_script("return document.documentElement.dataset.explorer") == "ready")
    return browser


def until(browser: Any, true: Any) -> None:
    from selenium.webdriver.support.ui import WebDriverWait

    WebDriverWait(browser, PATIENCE, poll_frequency=0.05).until(lambda _: true())


def part(browser: Any, name: str) -> Any:
    return browser.find_element("css selector", f'[data-part="{name}"]')


def drawn(browser: Any) -> list[str]:
    """The lines of all charts."""
    return list(
        browser.execute_script(
            "return [...document.querySelectorAll('#explorer .panels svg .mark-line path')]"
            ".map(path => path.getAttribute('d'))"
        )
    )


def changes(browser: Any, act: Any) -> None:
    """Does something, and waits until the charts are others than before."""
    before = drawn(browser)
    act()
    until(browser, lambda: drawn(browser) not in (before, []))


def choose(browser: Any, name: str, text: str) -> None:
    from selenium.webdriver.support.ui import Select

    Select(part(browser, name)).select_by_visible_text(text)


def values(browser: Any) -> list[list[str]]:
    """The cells of the table below the chart, of its first layer."""
    rows = browser.find_elements("css selector", "[data-part=values] tr")[:2]
    return [[cell.text for cell in row.find_elements("css selector", "th, td")] for row in rows]


def test_it_loads_without_errors_and_without_requests(browser: Any) -> None:
    opened(browser)
    assert browser.get_log("browser") == []
    messages = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    addresses = [m["params"]["request"]["url"] for m in messages if m["method"] == "Network.requestWillBeSent"]
    assert [address for address in addresses if not address.startswith("data:")] == [browser.address]
    assert len(drawn(browser)) == 2 * 2 + 2  # two layers, two networks; the paper has numbers for one of the layers
    assert all(image.get_property("naturalWidth") > 100 for image in browser.find_elements("css selector", "img"))


def test_a_selection_changes_the_chart(browser: Any) -> None:
    opened(browser)
    for name, text in (
        ("metric", "cos∠(G, G′)"),
        ("rate", "0.01"),
        ("scale", "25-layer deep linear network, width 10, target A ~ N(0, 1), 10,000 steps"),
    ):
        changes(browser, lambda name=name, text=text: choose(browser, name, text))
    assert "learning rate 1e-6" in part(browser, "shown").text
    assert len(drawn(browser)) == 2 * 2 + 4
    changes(browser, part(browser, "paper").click)
    assert len(drawn(browser)) == 2 * 2
    changes(browser, part(browser, "arms").find_element("css selector", "input[value=batch]").click)
    assert len(drawn(browser)) == 2
    part(browser, "arms").find_element("css selector", "input[value=standard]").click()
    until(browser, lambda: part(browser, "empty").is_displayed())
    assert part(browser, "empty").text == "Choose at least one normalisation and one layer."
    assert browser.get_log("browser") == []


def test_the_values_are_those_of_the_csv_files_and_the_keyboard_is_enough(browser: Any, runs: Path) -> None:
    from selenium.webdriver.common.keys import Keys

    opened(browser)
    slider = part(browser, "step")
    slider.send_keys(Keys.ARROW_RIGHT, Keys.ARROW_RIGHT)
    until(browser, lambda: part(browser, "at").text == "step 200")
    rows = load_runs(runs)["shift"]
    rows = rows[(rows["model.name"] == "vgg") & (rows["optimizer.lr"] == 0.1) & (rows["layer_index"] == 5)]
    for cells, norm in zip(values(browser), ("none", "batch"), strict=True):
        expected = over_seeds(rows[rows["norm.name"] == norm], "l2").set_index("step").loc[200]
        shown = [float(cell.replace(",", "")) for cell in (cells[1], *cells[2].split(" to "))]
        assert shown == pytest.approx(expected[["median", "low", "high"]].tolist(), rel=0.01)
        assert (cells[3], cells[4]) == ("3", number(expected["low"]))  # the first of our seeds is the paper's curve
    part(browser, "metric").send_keys("c")
    until(browser, lambda: "cos∠(G, G′): VGG-16" in part(browser, "shown").text)
    outline = browser.execute_script("return getComputedStyle(document.activeElement).outlineStyle")
    assert (browser.switch_to.active_element.get_attribute("data-part"), outline) == ("metric", "solid")


def test_the_pointer_shows_values(browser: Any) -> None:
    from selenium.webdriver.common.action_chains import ActionChains

    opened(browser)
    point = browser.find_element("css selector", "#explorer .panels svg .mark-symbol path[aria-roledescription]")
    ActionChains(browser).scroll_to_element(point).move_to_element(point).perform()
    until(browser, lambda: browser.find_elements("css selector", "#vg-tooltip-element.visible"))
    assert "range of the seeds" in browser.find_element("css selector", "#vg-tooltip-element").text


def test_a_layer_that_is_pressed_in_a_map_shows_its_curves(browser: Any) -> None:
    from selenium.webdriver.common.action_chains import ActionChains
    from selenium.webdriver.support.ui import Select

    opened(browser)
    titles = "return [...document.querySelectorAll('#maps svg text')].map(text => text.textContent)"
    assert "Layer 5" not in browser.execute_script(titles)
    cells = browser.find_elements("css selector", "#maps svg .mark-rect.role-mark path[aria-label*='layer: 5;']")
    ActionChains(browser).scroll_to_element(cells[0]).click(cells[0]).perform()
    until(browser, lambda: "Layer 5" in browser.execute_script(titles))
    until(browser, lambda: browser.find_elements("css selector", "#vg-tooltip-element.visible"))
    assert "BatchNorm − standard" in browser.find_element("css selector", "#vg-tooltip-element").text
    select = Select(browser.find_element("css selector", "#maps select"))
    select.select_by_index(len(select.options) - 1)
    until(browser, lambda: "log₁₀ ‖G − G′‖₂" in browser.execute_script(titles))
    assert browser.get_log("browser") == []


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("width", [380, 1200])
def test_no_sideways_scrolling_and_a_readable_ground(browser: Any, width: int, dark: bool, tmp_path: Path) -> None:
    opened(browser, width, dark)
    for details in browser.find_elements("css selector", "details"):
        browser.execute_script("arguments[0].open = true", details)
    assert browser.execute_script("return document.documentElement.scrollWidth") == width
    ground = browser.execute_script("return getComputedStyle(document.documentElement).backgroundColor")
    assert (sum(map(int, ground[4:-1].split(","))) < 3 * 60) is dark
    picture = tmp_path / "report.png"
    assert browser.save_screenshot(str(picture))
    image = Image.open(picture)
    assert image.width == width
    assert len(image.convert("RGB").getcolors(1 << 24) or []) > 20  # text and colours, not a blank page


def test_it_prints_what_is_folded_away(browser: Any) -> None:
    opened(browser)
    folded = "return document.querySelectorAll('details:not([open])').length"
    closed = browser.execute_script(folded)
    assert closed > 0
    browser.execute_script("window.dispatchEvent(new Event('beforeprint'))")
    assert browser.execute_script(folded) == 0
    browser.execute_script("window.dispatchEvent(new Event('afterprint'))")
    assert browser.execute_script(folded) == closed
    pdf = io.BytesIO(base64.b64decode(browser.execute_cdp_cmd("Page.printToPDF", {})["data"]))
    assert pdf.read(5) == b"%PDF-"


def test_figures_grow_on_request(browser: Any) -> None:
    opened(browser, 380)
    button = browser.find_element("css selector", "button.enlarge")
    image = button.find_element("css selector", "img")
    small = image.size["width"]
    button.send_keys("\n")
    assert button.get_attribute("aria-pressed") == "true"
    assert image.size["width"] > 2 * small
    assert browser.execute_script("return document.documentElement.scrollWidth") == 380
