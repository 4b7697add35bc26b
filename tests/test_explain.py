"""The explain pages as files: what they hold, that they load nothing, and that those who cannot see them can use them.

What happens in a browser is in test_explain_browser.py.
"""

import importlib.util
import json
import re
import subprocess
import sys
from functools import cache
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from scratchfcn import naive
from scratchfcn.cli import app
from scratchfcn.explain import TOPICS, Page, SettingsError, build, patterns, render, write
from scratchfcn.explain.page import TEMPLATES, filled, plain, shown
from scratchfcn.learn.reading import readable

pytestmark = pytest.mark.xdist_group("explain")  # with the tests in a browser: every page is made once
PACKAGE = TEMPLATES.parent.parent


def exists(topic: str) -> bool:
    return importlib.util.find_spec(f"scratchfcn.explain.topics.{topic.replace('-', '_')}") is not None


@cache
def page_of(topic: str) -> Page:
    return build(topic)


def run(*args: str) -> Any:
    return CliRunner().invoke(app, ["explain", *args], prog_name="scratchfcn")


class Document(HTMLParser):
    """The elements of a page, as (name, attributes), and the text of some."""

    VOID = ("meta", "link", "input", "br", "img", "hr")

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.texts: dict[int, str] = {}  # of the element with that number, and of what is in it
        self.open: list[int] = []
        self.feed(html)
        self.close()
        assert not self.open, f"never closed: {[self.elements[i] for i in self.open]}"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}))
        if tag not in self.VOID:
            self.open.append(len(self.elements) - 1)

    def handle_endtag(self, tag: str) -> None:
        if tag not in self.VOID:
            assert self.elements[self.open.pop()][0] == tag

    def handle_data(self, data: str) -> None:
        for i in self.open:
            self.texts[i] = self.texts.get(i, "") + data

    def all(self, *tags: str) -> list[tuple[dict[str, str], str]]:
        return [(a, self.texts.get(i, "").strip()) for i, (tag, a) in enumerate(self.elements) if tag in tags]


# --- every page -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("topic", [topic for topic in TOPICS if exists(topic)])
class TestEveryPage:
    @pytest.fixture
    def html(self, topic: str) -> str:
        return render(page_of(topic))

    @pytest.fixture
    def document(self, html: str) -> Document:
        return Document(html)

    def test_it_loads_nothing(self, html: str, document: Document) -> None:
        for tag, attributes in document.elements:
            for name in ("src", "href", "srcset", "action", "data"):
                target = attributes.get(name, "")
                assert not target or target.startswith(("data:", "#")), (tag, target)
        for words in ("@import", "url(", "fetch(", "XMLHttpRequest", "import("):
            assert words not in html

    def test_ids_are_unique_and_references_lead_somewhere(self, document: Document) -> None:
        ids = [attributes["id"] for _, attributes in document.elements if "id" in attributes]
        assert len(ids) == len(set(ids))
        for _, attributes in document.elements:
            for name in ("for", "aria-labelledby", "aria-describedby", "data-for"):
                assert not attributes.get(name) or attributes[name] in ids
            if attributes.get("href", "").startswith("#"):
                assert attributes["href"][1:] in ids

    def test_every_control_has_a_name(self, document: Document) -> None:
        labelled = {a["for"]: words for a, words in document.all("label")}
        for attributes, _ in document.all("input", "select", "textarea"):
            assert attributes.get("aria-label") or labelled.get(attributes["id"]), attributes
        for attributes, words in document.all("button"):
            assert attributes.get("aria-label") or words, attributes
            assert attributes["type"] == "button"  # in a form, another type would send it
        for attributes, _ in document.all("img"):
            assert "alt" in attributes

    def test_its_structure_can_be_heard(self, document: Document) -> None:
        assert document.elements[0] == ("html", {"lang": "en"})
        assert len(document.all("h1")) == len(document.all("main")) == 1
        levels = [int(tag[1]) for tag, _ in document.elements if re.fullmatch("h[1-6]", tag)]
        assert all(b <= a + 1 for a, b in pairwise(levels))
        for attributes, _ in document.all("section"):
            assert attributes.get("aria-label") or attributes.get("aria-labelledby")
        for tag, attributes in document.elements:
            if "scroll" in attributes.get("class", "").split():  # reached and scrolled with the keyboard
                assert attributes["tabindex"] == "0", tag
                assert attributes["role"] == "region"
                assert attributes["aria-label"]
        steps = [attributes for _, attributes in document.elements if attributes.get("id") in ("step", "words")]
        assert not steps or any(attributes.get("aria-live") == "polite" for attributes in steps)

    def test_it_prints_the_equations_with_their_numbers(self, topic: str, document: Document) -> None:
        page = page_of(topic)
        assert re.search(r"\{\w+\}", " ".join(page.equations)), "no number is filled in"
        paragraphs = [words for _, words in document.all("p")]
        for line in page.equations:
            assert filled(line, page.numbers) in paragraphs

    def test_it_leads_to_the_code_and_says_how_it_was_made(self, topic: str, html: str) -> None:
        assert page_of(topic).code
        for code in page_of(topic).code:
            assert (PACKAGE / code.path).is_file()
            assert f"scratchfcn/{code.path}" in html
        commands = set(re.findall("scratchfcn learn read ([^<]*)<", html))
        assert commands == {code.op for code in page_of(topic).code if code.op}
        assert commands <= set(readable())
        assert f"<code>scratchfcn explain {topic}</code>" in html

    def test_its_data_is_json_that_cannot_end_the_script(self, topic: str, document: Document) -> None:
        ((_, words),) = [each for each in document.all("script") if each[0].get("type") == "application/json"]
        data = json.loads(words)
        assert data["topic"] == topic
        for name, value in page_of(topic).data.items():
            assert data[name] == plain(value)

    def test_its_picture_is_not_blank(self, topic: str, tmp_path: Path) -> None:
        html_path, png_path = write(page_of(topic), tmp_path / "new" / "page.html")
        assert html_path.read_text(encoding="utf-8") == render(page_of(topic))
        assert sorted(path.name for path in html_path.parent.iterdir()) == ["page.html", "page.png"]
        with Image.open(png_path) as picture:
            assert picture.width >= 800
            assert picture.info["Title"] == page_of(topic).title
            assert picture.info["Description"]
            pixels = np.asarray(picture.convert("L"))
        assert 0.01 < (pixels < 200).mean() < 0.7
        assert (pixels[[0, -1]] == 255).all()  # nothing is cut off at the top or the bottom
        assert (pixels[:, [0, -1]] == 255).all()


# --- the numbers ------------------------------------------------------------------------------------------


def test_conv_has_the_numbers_of_the_definition() -> None:
    page = build("conv", size=(6, 9), kernel=2, stride=3, padding=1, dilation=2)
    y = naive.conv2d(patterns.image(6, 9), patterns.kernel(2), stride=3, padding=1, dilation=2)
    np.testing.assert_array_equal(page.data["y"], y[0, 0])
    assert filled(page.equations[1], page.numbers) == "OH = ⌊(H + 2·p − span) / s⌋ + 1 = ⌊(6 + 2·1 − 3) / 3⌋ + 1 = 2"
    assert page.command == "scratchfcn explain conv --size 9x6 --kernel 2 --stride 3 --padding 1 --dilation 2"


def test_im2col_has_the_numbers_of_the_definition() -> None:
    page = build("im2col", size=(4, 5), channels=2, kernel=3, stride=1, padding=1)
    x, w = patterns.image(4, 5, 2), patterns.kernel(3, 2)
    np.testing.assert_array_equal(page.data["y"], naive.conv2d(x, w, padding=1).reshape(1, -1))
    np.testing.assert_array_equal(page.data["y"], w.reshape(1, -1) @ page.data["cols"])
    gx = naive.conv_transpose2d(patterns.gradient(4, 5), w, padding=1)
    np.testing.assert_array_equal(page.data["gx"], gx[0])
    assert (page.numbers["R"], page.numbers["T"], page.numbers["times"]) == (18, 20, 9)


@pytest.mark.parametrize("ceil_mode", [False, True])
def test_max_pool_has_the_numbers_of_the_definition(ceil_mode: bool) -> None:
    page = build("max-pool", size=(7, 6), kernel=3, stride=2, padding=1, ceil_mode=ceil_mode)
    y = naive.max_pool2d(patterns.image(7, 6), 3, 2, 1, ceil_mode=ceil_mode)
    np.testing.assert_array_equal(page.data["y"], y[0, 0])
    assert page.data["gx"].sum() == page.numbers["total"] == patterns.gradient(*y.shape[2:]).sum()
    assert page.command.endswith("--padding 1 --ceil-mode" if ceil_mode else "--padding 1 ")


def test_transposed_conv_has_the_numbers_of_the_definition() -> None:
    page = build("transposed-conv", size=(3, 4), kernel=3, stride=2, padding=1, output_padding=1, dilation=2)
    y = naive.conv_transpose2d(patterns.image(3, 4), patterns.kernel(3), None, 2, 1, 1, 1, 2)
    np.testing.assert_array_equal(page.data["y"], y[0, 0])
    assert (page.numbers["back_h"], page.numbers["back_w"]) == (3, 4)


@pytest.mark.parametrize("factor", [2, 3, 8])
def test_bilinear_is_the_papers_kernel(factor: int) -> None:
    page = build("bilinear", factor=factor)
    K = 2 * factor - factor % 2
    centre = (K - 1) / 2
    np.testing.assert_allclose(page.data["w"], [1 - abs(i - centre) / factor for i in range(K)], atol=1e-15)
    inside = slice(factor, -factor)  # at the edge, an interpolation repeats the last pixel
    np.testing.assert_allclose(page.data["y"][inside], page.data["resized"][inside], atol=1e-14)
    assert page.data["y"].size == 5 * factor
    weights = {2: "1/4, 3/4, 3/4, 1/4", 3: "1/3, 2/3, 3/3, 2/3, 1/3"}
    assert page.numbers["weights"] == weights.get(factor, page.numbers["weights"])


@pytest.mark.parametrize(
    ("value", "words"),
    [(3.0, "3"), (-2, "−2"), (0.25, "0.25"), (1 / 3, "0.3333"), (-0.00001, "0"), (0.03125, "0.0313"), (100, "100"),
     (-10, "−10"), ("1/4", "1/4"), (np.float32(0.5), "0.5"), (0, "0"), (-0.05, "−0.05")],
)  # fmt: skip
def test_numbers_as_words(value: Any, words: str) -> None:
    assert shown(value) == words


# --- what is refused --------------------------------------------------------------------------------------


def test_an_unknown_topic_names_the_known_ones() -> None:
    with pytest.raises(SettingsError, match=r"no topic 'convolution'; there are conv, im2col"):
        build("convolution")


def test_a_setting_of_another_topic() -> None:
    with pytest.raises(SettingsError, match=r"conv has no setting --factor; it takes --size, --kernel, --stride"):
        build("conv", factor=2)


@pytest.mark.parametrize(
    ("topic", "settings", "words"),
    [
        ("conv", {"kernel": 9}, "kernel K: 9 is outside what this page shows, 1..7"),
        ("conv", {"size": (3, 50)}, "width W: 50 is outside"),
        ("conv", {"size": (3, 3), "kernel": 7, "padding": 0}, "does not fit into an input of 3x3"),
        ("im2col", {"size": (2, 2), "padding": 0}, "does not fit"),
        ("max-pool", {"padding": 2}, "padding"),
        ("transposed-conv", {"output_padding": 2}, "must be smaller than stride"),
        ("transposed-conv", {"size": (1, 1), "kernel": 1, "padding": 3}, "empty output"),
        ("bilinear", {"factor": 1}, "factor f: 1 is outside"),
    ],
)
def test_sizes_that_cannot_be(topic: str, settings: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=re.escape(words)):
        build(topic, **settings)


# --- colours ----------------------------------------------------------------------------------------------


def luminance(colour: str) -> float:
    """Relative luminance (WCAG 2)."""
    digits = colour.lstrip("#")
    digits = "".join(2 * d for d in digits) if len(digits) == 3 else digits
    rgb = [int(digits[i : i + 2], 16) / 255 for i in (0, 2, 4)]
    linear = [c / 12.92 if c <= 0.03928 else ((c + 0.055) / 1.055) ** 2.4 for c in rgb]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(a: str, b: str) -> float:
    light, dark = sorted([luminance(a), luminance(b)], reverse=True)
    return (light + 0.05) / (dark + 0.05)


def test_text_and_outlines_stand_out() -> None:
    css = (TEMPLATES / "style.css").read_text()
    colours = dict(re.findall(r"--([\w-]+): (#\w+);", css))
    assert contrast("#000", "#fff") == pytest.approx(21)
    for background in ("paper", "panel", "read", "write", "back"):
        assert contrast(colours["ink"], colours[background]) >= 7
    for background in ("paper", "panel"):
        assert contrast(colours["soft"], colours[background]) >= 7
    assert contrast("#595959", "#f1f1f1") >= 4.5  # numbers in the padding
    assert contrast(colours["ink"], "#ffbf47") >= 7
    assert contrast("#6b6b6b", colours["paper"]) >= 4.5  # a button that leads nowhere
    for name in ("read", "write", "back"):
        assert contrast(colours[f"{name}-edge"], colours[name]) >= 4.5


# --- the command ------------------------------------------------------------------------------------------


def test_the_command_alone_lists_the_topics() -> None:
    result = run()
    assert result.exit_code == 0
    for topic, about in TOPICS.items():
        assert re.search(rf"^{topic} +{re.escape(about)}$", result.output, re.MULTILINE)


def test_the_command_writes_into_a_folder(tmp_path: Path) -> None:
    result = run("conv", "--size", "8x5", "--kernel", "2", "--output", str(tmp_path / "pages"))
    assert result.exit_code == 0, result.output
    assert result.output.split() == [str(tmp_path / "pages" / f"conv.{end}") for end in ("html", "png")]
    assert "scratchfcn explain conv --size 8x5 --kernel 2" in (tmp_path / "pages" / "conv.html").read_text()


def test_the_command_writes_a_file_and_opens_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[str] = []
    monkeypatch.setattr("webbrowser.open", opened.append)
    path = tmp_path / "pool.html"
    assert run("max-pool", "--ceil-mode", "--output", str(path), "--open").exit_code == 0
    assert path.is_file()
    assert path.with_suffix(".png").is_file()
    assert opened == [path.as_uri()]


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["convolution"], "there is no topic 'convolution'"),
        (["conv", "--factor", "2"], "conv has no setting --factor"),
        (["conv", "--size", "axb"], "--size 'axb' is not a size"),
        (["max-pool", "--stride", "0"], "stride"),
    ],
)
def test_the_command_refuses(args: list[str], words: str, tmp_path: Path) -> None:
    result = run(*args, "--output", str(tmp_path / "x"))
    assert result.exit_code == 2
    assert words in result.output
    assert not (tmp_path / "x").exists()


def test_the_list_needs_nothing_heavy() -> None:
    program = """
import sys
from scratchfcn.cli import main
try:
    sys.argv[1:] = ["explain"]
    main()
finally:
    heavy = {"matplotlib", "jinja2", "PIL"} & set(sys.modules)
    assert not heavy, heavy
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
