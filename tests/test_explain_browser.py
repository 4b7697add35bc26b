"""The explain pages in a browser: headless Chromium, from the disk, without a network.

Needs Chromium (or Chrome) and the package playwright, which drives it; skipped, with the reason, where one is missing.
"""

import json
import re
import shutil
from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from test_explain import exists, page_of

from scratchfcn.explain import TOPICS, Choice, build, write
from scratchfcn.explain.page import Setting, filled, plain, shown

pytestmark = pytest.mark.xdist_group("explain")  # one browser is enough, and every page is made once

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
PHONE, DESK = (360, 740), (1280, 900)
SHOWS_ONLY = ["feature-maps"]  # a network's numbers, which no page can compute again
AVAILABLE = [topic for topic in TOPICS if exists(topic)]


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    playwright = pytest.importorskip(
        "playwright.sync_api", reason="playwright is not installed: pip install playwright"
    )
    found = [path for path in map(shutil.which, BROWSERS) if path]
    if not found:
        pytest.skip(f"no browser here: none of {', '.join(BROWSERS)}")
    with playwright.sync_playwright() as driver:
        # as root, in a container, Chromium's sandbox cannot be had; the pages are our own
        browser = driver.chromium.launch(executable_path=found[0], args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("explain")


def written(topic: str, folder: Path) -> Path:
    """The page of a topic, in its own settings; written once."""
    path = folder / f"{topic}.html"
    if not path.exists():
        write(page_of(topic), path)
    return path


class Reader:
    """A page that is open, and what went wrong in it."""

    def __init__(self, browser: Any, path: Path, size: tuple[int, int], **options: Any) -> None:
        self.context = browser.new_context(viewport={"width": size[0], "height": size[1]}, offline=True, **options)
        self.context.set_default_timeout(5000)
        self.page = self.context.new_page()
        self.wrong: list[str] = []
        self.page.on("console", lambda message: self.wrong.append(f"{message.type}: {message.text}"))
        self.page.on("pageerror", lambda error: self.wrong.append(str(error)))
        self.page.on("requestfailed", lambda request: self.wrong.append(f"failed: {request.url}"))
        self.requests: list[str] = []
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.goto(path.as_uri())

    def set(self, **values: Any) -> None:
        """Change controls, as a hand would, all in one go."""
        self.page.evaluate(
            """values => { for (const [name, value] of Object.entries(values)) {
                const control = document.getElementById("set-" + name);
                control.value = value;
                control.dispatchEvent(new Event("input", { bubbles: true }));
            } }""",
            {name: str(value) for name, value in values.items()},
        )

    def cells(self, panel: str) -> dict[str, str]:
        """ "row,column" → the number that stands there."""
        script = "e => Object.fromEntries(e.map(t => [t.dataset.cell, t.textContent]))"
        return self.page.eval_on_selector_all(f"#{panel} text[data-cell]", script)

    def text(self, selector: str) -> str:
        return self.page.inner_text(selector)

    def equations(self) -> list[str]:
        return self.page.eval_on_selector_all("#equations p", "e => e.map(p => p.textContent)")

    def last_step(self) -> None:
        self.page.evaluate("explain.go(1e6)")


@pytest.fixture
def read(browser: Any, folder: Path) -> Iterator[Callable[..., Reader]]:
    """`read(topic)` opens its page; nothing may have gone wrong in it by the end."""
    readers = []

    def open_page(topic: str, size: tuple[int, int] = DESK, **options: Any) -> Reader:
        readers.append(Reader(browser, written(topic, folder), size, **options))
        return readers[-1]

    yield open_page
    for reader in readers:
        reader.context.close()
        assert reader.wrong == []


def shown_cells(values: Any, first: tuple[int, int] = (0, 0)) -> dict[str, str]:
    """What a grid of these numbers shows."""
    values = np.asarray(values)
    return {f"{r + first[0]},{c + first[1]}": shown(values[r, c]) for r, c in np.ndindex(values.shape)}


# --- every page -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("topic", AVAILABLE)
class TestEveryPage:
    @pytest.mark.parametrize("size", [PHONE, DESK], ids=["phone", "desk"])
    def test_it_opens_from_the_disk_and_fits(self, topic: str, size: tuple[int, int], read: Any, folder: Path) -> None:
        reader = read(topic, size)
        assert [url for url in reader.requests if not url.startswith("data:")] == [(folder / f"{topic}.html").as_uri()]
        assert reader.page.evaluate("document.documentElement.scrollWidth") <= size[0]
        if topic not in SHOWS_ONLY:
            assert "equal those" in reader.text("#checked")
        with Image.open(BytesIO(reader.page.locator("#figure").screenshot())) as picture:
            pixels = np.asarray(picture.convert("L"))
        assert 0.005 < (pixels < 128).mean() < 0.6  # neither blank nor black

    def test_every_picture_is_described(self, topic: str, read: Any) -> None:
        reader = read(topic)
        pictures = reader.page.eval_on_selector_all(
            "main svg, main canvas",
            "e => e.filter(s => s.checkVisibility()).map(s => [s.getAttribute('role'), s.getAttribute('aria-label')])",
        )
        assert pictures
        for role, label in pictures:
            assert role == "img"
            assert label
            assert not re.search("undefined|NaN|null", label)

    def test_steps_by_buttons_keys_and_slider(self, topic: str, read: Any) -> None:
        reader = read(topic)
        page = reader.page
        if page.locator("#stepper").count() == 0:
            return  # a page without steps
        count = int(page.get_attribute("#step", "max")) + 1
        assert count > 1
        step = lambda: int(page.input_value("#step"))  # noqa: E731
        page.evaluate("explain.go(0)")  # a page may open at a step in the middle
        first = reader.text("#words")
        page.click("#next")
        assert step() == 1
        assert reader.text("#words") != first
        assert reader.text("#step-text") == f"2 of {count}"
        page.click("#previous")
        assert reader.text("#words") == first
        page.click("#previous", force=True)  # leads nowhere, and says so
        assert step() == 0
        assert page.get_attribute("#previous", "aria-disabled") == "true"
        page.locator("#figure").focus()
        for key, expected in [("ArrowRight", 1), ("End", count - 1), ("ArrowLeft", count - 2), ("Home", 0)]:
            page.keyboard.press(key)
            assert step() == expected
        page.fill("#step", str(count - 1))
        assert reader.text("#step-text") == f"{count} of {count}"
        page.click("#first")
        assert step() == 0
        for t in range(count):  # nothing is undefined on the way
            page.evaluate("t => explain.go(t)", t)
            words = reader.text("main")
            assert not re.search("undefined|NaN", words)

    def test_every_control_changes_the_page(self, topic: str, read: Any) -> None:
        reader = read(topic)
        settings = page_of(topic).settings
        for setting in settings:
            before = reader.page.inner_html("main")
            if isinstance(setting, Choice):
                other = next(value for value in setting.choices if value != setting.value)
                reader.page.select_option(f"#set-{setting.name}", other)
            else:
                more = reader.page.locator(f"button[data-for=set-{setting.name}]")
                more.nth(1 if setting.value < setting.most else 0).click()
            assert reader.page.inner_html("main") != before, setting.name
            reader.set(**{each.name: each.value for each in settings})
            assert reader.page.is_hidden("#problem")

    def test_tables_hold_the_same_numbers(self, topic: str, read: Any) -> None:
        reader = read(topic)
        reader.last_step()
        reader.page.click("#tables summary")
        reader.page.wait_for_selector("#tables table")
        tables = reader.page.eval_on_selector_all(
            "#tables table",
            "e => e.map(t => [t.dataset.panel, [...t.querySelectorAll('td')].map(d => d.textContent).filter(Boolean)])",
        )
        for panel, numbers in tables:
            cells = list(reader.cells(panel).values())
            assert not cells or numbers == cells  # other pictures say what belongs into their table

    def test_a_wrong_number_is_named_and_the_page_recovers(self, topic: str, read: Any) -> None:
        reader = read(topic)
        numbers = [setting for setting in page_of(topic).settings if isinstance(setting, Setting)]
        for setting in numbers:
            before = reader.equations()
            for wrong in (setting.most + 1, setting.least - 1, 1.5, ""):
                reader.set(**{setting.name: wrong})
                assert setting.label in reader.text("#problem")
                assert reader.page.get_attribute(f"#set-{setting.name}", "aria-invalid") == "true"
                assert reader.equations() == before
            reader.set(**{setting.name: setting.value})
            assert reader.page.is_hidden("#problem")


# --- playing ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("motion", ["no-preference", "reduce"])
def test_playing_and_pausing(motion: str, read: Any) -> None:
    reader = read("max-pool", reduced_motion=motion)
    page = reader.page
    page.clock.install(time=0)
    page.reload()
    page.clock.pause_at(1000)  # from here on, time passes only when told to
    step = lambda: int(page.input_value("#step"))  # noqa: E731
    assert step() == 0  # nothing moves unasked
    page.clock.run_for(5000)
    assert step() == 0
    page.click("#play")
    assert reader.text("#play") == "pause"
    assert page.get_attribute("#words", "aria-live") == "off"
    page.clock.run_for(2600)
    assert step() == (1 if motion == "reduce" else 2)
    page.keyboard.press("ArrowRight")  # whoever steps by hand has paused
    now = step()
    page.clock.run_for(5000)
    assert step() == now
    assert (reader.text("#play"), page.get_attribute("#words", "aria-live")) == ("play", "polite")
    page.locator("#figure").focus()
    page.keyboard.press(" ")
    page.clock.run_for(100_000)
    assert step() == int(page.get_attribute("#step", "max"))
    assert reader.text("#play") == "play"


# --- the page's numbers are the library's ------------------------------------------------------------------

GEOMETRIES = [
    {"height": 5, "width": 8, "kernel": 3, "stride": 2, "padding": 0, "dilation": 1},
    {"height": 8, "width": 5, "kernel": 2, "stride": 3, "padding": 2, "dilation": 2},
    {"height": 1, "width": 7, "kernel": 3, "stride": 1, "padding": 2, "dilation": 1},
    {"height": 7, "width": 7, "kernel": 4, "stride": 1, "padding": 1, "dilation": 2},
    {"height": 6, "width": 6, "kernel": 1, "stride": 4, "padding": 0, "dilation": 3},
    {"height": 3, "width": 3, "kernel": 4, "stride": 1, "padding": 0, "dilation": 1},  # does not fit
    {"height": 2, "width": 8, "kernel": 2, "stride": 1, "padding": 0, "dilation": 3},  # does not fit
]


def library(topic: str, settings: dict[str, Any]) -> Any:
    """The page of these settings, or the library's complaint about them."""
    settings = dict(settings)
    if "height" in settings:
        settings["size"] = settings.pop("height"), settings.pop("width")
    try:
        return build(topic, **settings)
    except ValueError as error:
        return error


def compare(reader: Reader, topic: str, settings: dict[str, Any], **in_page: Any) -> Any:
    """Set the controls; the equations have to be those of the library, and so does what it refuses."""
    expected = library(topic, settings)
    control = {name: value for name, value in settings.items() if name != "ceil_mode"}
    reader.set(**control, **in_page)
    if isinstance(expected, ValueError):
        assert reader.text("#problem"), (settings, expected)
        return None
    assert reader.page.is_hidden("#problem"), (settings, reader.text("#problem"))
    assert reader.equations() == [filled(line, expected.numbers) for line in expected.equations]
    reader.last_step()
    return expected.data


def test_conv_computes_what_the_library_computes(read: Any) -> None:
    reader = read("conv")
    for settings in GEOMETRIES:
        data = compare(reader, "conv", settings)
        if data:
            assert reader.cells("output") == shown_cells(data["y"])
            p = settings["padding"]
            assert next(iter(reader.cells("input"))) == f"{-p},{-p}"


def test_conv_says_what_a_step_does(read: Any) -> None:
    reader = read("conv")
    reader.page.evaluate("explain.go(5)")
    y = page_of("conv").data["y"]
    words = reader.text("#words")
    left, right = words.split(". ", 1)[1].rsplit(" = ", 1)
    total = eval(left.replace("−", "-").replace("·", "*"))  # the sum that is printed is the number that is printed
    assert (shown(total), right) == (shown(y[1, 1]), shown(y[1, 1]))
    label = reader.page.get_attribute("#output svg", "aria-label")
    assert f"row 1, column 1 is written now: {shown(y[1, 1])}" in label
    marked = reader.page.eval_on_selector_all("#input rect.read", "e => e.length")
    assert marked == 9
    assert len(reader.cells("output")) == 6  # what is not computed yet is empty


@pytest.mark.parametrize(("channels", "geometries"), [(1, GEOMETRIES), (3, GEOMETRIES[:2])])
def test_im2col_computes_what_the_library_computes(channels: int, geometries: list[Any], read: Any) -> None:
    reader = read("im2col")
    for settings in geometries:
        settings = settings | {"channels": channels}
        data = compare(reader, "im2col", settings, what="im2col")
        if not data:
            continue
        assert reader.cells("cols") == shown_cells(data["cols"])
        assert reader.cells("result") == shown_cells(data["y"])
        reader.set(what="col2im")
        reader.last_step()
        p, (H, W) = settings["padding"], (settings["height"], settings["width"])
        for c in range(channels):
            cells = reader.cells(f"images-{c}")
            assert {place: cells[place] for place in shown_cells(data["gx"][c])} == shown_cells(data["gx"][c])
            assert len(cells) == (H + 2 * p) * (W + 2 * p)
    assert reader.page.locator("#images .panel").count() == channels


POOLS = [
    {"height": 7, "width": 6, "kernel": 3, "stride": 2, "padding": 1},
    {"height": 7, "width": 7, "kernel": 2, "stride": 2, "padding": 0},
    {"height": 8, "width": 5, "kernel": 3, "stride": 2, "padding": 0},
    {"height": 5, "width": 9, "kernel": 1, "stride": 3, "padding": 0},
    {"height": 6, "width": 6, "kernel": 5, "stride": 1, "padding": 2},
    {"height": 4, "width": 4, "kernel": 2, "stride": 3, "padding": 1},
    {"height": 2, "width": 9, "kernel": 3, "stride": 2, "padding": 0},  # fits only when rounded up, if at all
    {"height": 6, "width": 6, "kernel": 2, "stride": 2, "padding": 2},  # more padding than half the window
]


@pytest.mark.parametrize("ceil_mode", [False, True])
def test_max_pool_computes_what_the_library_computes(ceil_mode: bool, read: Any) -> None:
    reader = read("max-pool")
    for settings in POOLS:
        data = compare(
            reader, "max-pool", settings | {"ceil_mode": ceil_mode}, rounding="ceil" if ceil_mode else "floor"
        )
        if data:
            assert reader.cells("output") == shown_cells(data["y"])
            assert reader.cells("gx") == shown_cells(data["gx"])


STAMPS = [
    {"height": 3, "width": 4, "kernel": 4, "stride": 2, "padding": 1, "output_padding": 0, "dilation": 1},
    {"height": 2, "width": 2, "kernel": 3, "stride": 3, "padding": 0, "output_padding": 2, "dilation": 1},
    {"height": 3, "width": 1, "kernel": 2, "stride": 1, "padding": 0, "output_padding": 1, "dilation": 3},
    {"height": 4, "width": 3, "kernel": 1, "stride": 3, "padding": 1, "output_padding": 0, "dilation": 1},
    {"height": 3, "width": 3, "kernel": 3, "stride": 2, "padding": 1, "output_padding": 1, "dilation": 2},
    {"height": 3, "width": 3, "kernel": 3, "stride": 2, "padding": 0, "output_padding": 2, "dilation": 1},  # too many
    {
        "height": 1,
        "width": 1,
        "kernel": 2,
        "stride": 1,
        "padding": 2,
        "output_padding": 0,
        "dilation": 1,
    },  # nothing left
]


def test_transposed_conv_computes_what_the_library_computes(read: Any) -> None:
    reader = read("transposed-conv")
    for settings in STAMPS:
        data = compare(reader, "transposed-conv", settings)
        if data:
            cells, expected = reader.cells("output"), shown_cells(data["y"])
            assert {place: cells[place] for place in expected} == expected


@pytest.mark.parametrize("factor", range(2, 9))
def test_bilinear_computes_what_the_library_computes(factor: int, read: Any) -> None:
    reader = read("bilinear")
    for pixels in (2, 5, 8):
        expected = build("bilinear", factor=factor, size=(1, pixels))
        reader.set(factor=factor, pixels=pixels)
        reader.last_step()
        assert reader.equations() == [filled(line, expected.numbers) for line in expected.equations]
        assert reader.cells("y") == shown_cells(expected.data["y"][None])
        assert reader.cells("resized") == shown_cells(expected.data["resized"][None])


def test_numbers_are_written_alike(read: Any) -> None:
    reader = read("conv")
    values = [0, -0.0, 1, -1, 0.5, 1 / 3, -2 / 3, 1 / 32, -1 / 32, 12.34567, 1e-5, -1e-5, 100, 1000.5, 3 / 64, 0.00005]
    assert reader.page.evaluate("v => v.map(explain.shown)", values) == [shown(value) for value in values]


def test_a_page_notices_that_its_numbers_are_wrong(browser: Any, tmp_path: Path) -> None:
    page = build("conv")
    page.data["y"] = page.data["y"] + 1
    html_path, _ = write(page, tmp_path / "wrong.html")
    reader = Reader(browser, html_path, DESK)
    assert reader.text("#checked").startswith("Warning: the numbers computed in this page differ")
    reader.context.close()


def test_without_javascript_the_words_are_there(browser: Any, folder: Path) -> None:
    reader = Reader(browser, written("conv", folder), DESK, java_script_enabled=False)
    assert "The figure needs JavaScript" in reader.text("main")
    assert reader.page.inner_text("#equations").count("=") > 6
    reader.context.close()


def test_the_data_of_a_page_is_the_librarys(read: Any) -> None:
    reader = read("conv")
    assert reader.page.evaluate("explain.data.y") == plain(page_of("conv").data["y"])
    assert json.loads(reader.page.text_content("#data")) == reader.page.evaluate("explain.data")
