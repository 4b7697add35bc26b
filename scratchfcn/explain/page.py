"""From a topic to its files: one HTML page that needs nothing else, and a picture of the same numbers.

A topic (topics/*.py) computes numbers with the library's own operations and returns a `Page`. The page's words are in
templates/TOPIC.html, which fills the blocks of base.html; what moves is in templates/TOPIC.js, which uses the small
toolbox of common.js. The style sheet and both scripts are copied into the page, and the numbers travel as JSON.

Whoever opens the page changes sizes in it, and the script computes again, without this library. So that the two can
never disagree unnoticed, the page holds the library's result for the sizes it was made with: the script compares
its own with it when the page opens, and says in the last line whether they are equal.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from decimal import ROUND_HALF_UP, Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..files import replacing

if TYPE_CHECKING:
    from matplotlib.figure import Figure

TEMPLATES = Path(__file__).with_name("templates")


class SettingsError(ValueError):
    """The page cannot be made with these settings."""


@dataclass(frozen=True)
class Setting:
    """A whole number that the reader may change in the page, between two limits."""

    name: str  # as the script and the command line know it: "kernel"
    label: str  # as the page says it: "kernel K"
    value: int
    least: int
    most: int

    def __post_init__(self) -> None:
        if not self.least <= self.value <= self.most:
            raise SettingsError(
                f"{self.label}: {self.value} is outside what this page shows, {self.least}..{self.most}"
            )


@dataclass(frozen=True)
class Choice:
    """One of several words that the reader may choose."""

    name: str
    label: str
    value: str
    choices: dict[str, str]  # what the script gets → what the page says

    def __post_init__(self) -> None:
        if self.value not in self.choices:
            raise SettingsError(f"{self.label}: {self.value!r} is not one of {', '.join(self.choices)}")


@dataclass(frozen=True)
class Code:
    """A file of the library that does what the page shows."""

    path: str  # below scratchfcn/: "ops/conv.py"
    about: str  # what to look for in it
    op: str | None = None  # what `scratchfcn learn read` calls it, where it is an operation: "conv2d"


@dataclass
class Page:
    """What a topic hands over.

    equations are templates, "K = {K}", with the names that `numbers` gives values; the script fills the same templates
    when a size changes. data is what the script gets, JSON with arrays as lists; draw fills a matplotlib figure.
    """

    topic: str
    title: str
    summary: str  # one sentence: what the page shows
    equations: list[str]
    numbers: dict[str, Any]
    draw: Callable[[Figure], None]
    settings: list[Setting | Choice] = field(default_factory=list)
    data: dict[str, Any] = field(default_factory=dict)
    code: list[Code] = field(default_factory=list)
    command: str = ""  # how to make this page again
    description: str = ""  # what the picture shows, in words: for those who do not see it


def render(page: Page) -> str:
    """The whole HTML file."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    from markupsafe import Markup

    from .. import __version__

    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    content = {
        "topic": page.topic,
        "equations": page.equations,
        "settings": [asdict(setting) for setting in page.settings],
        **page.data,
    }
    return environment.get_template(f"{page.topic}.html").render(
        page=page,
        version=__version__,
        equations=[filled(line, page.numbers) for line in page.equations],
        # "</script>" within a text would end the script; in JSON "<\/" means the same
        data=Markup(json.dumps(plain(content), ensure_ascii=False, allow_nan=False).replace("</", "<\\/")),
        source=lambda name: Markup((TEMPLATES / name).read_text(encoding="utf-8")),
    )


def write(page: Page, html_path: str | Path) -> tuple[Path, Path]:
    """Write the page and, beside it, its picture; returns the two paths."""
    from matplotlib.figure import Figure

    html_path = Path(html_path)
    html_path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(html_path) as temporary:
        Path(temporary).write_text(render(page), encoding="utf-8")
    figure = Figure(figsize=(10, 5.4), layout="constrained", facecolor="white")
    page.draw(figure)
    png_path = html_path.with_suffix(".png")
    with replacing(png_path) as temporary:
        figure.savefig(
            temporary, format="png", dpi=120, metadata={"Title": page.title, "Description": page.description}
        )
    return html_path, png_path


# --- numbers ----------------------------------------------------------------------------------------------


def filled(template: str, numbers: dict[str, Any]) -> str:
    """ "K = {K}" → "K = 3"."""
    return template.format(**{name: shown(value) for name, value in numbers.items()})


def shown(value: Any) -> str:
    """A number as the pages write it: whole, or with at most four decimals, and a true minus sign. A text stays."""
    if isinstance(value, str):
        return value
    number = Decimal(float(value)).quantize(Decimal("0.0001"), ROUND_HALF_UP)  # as JavaScript's toFixed rounds
    text = f"{number:f}".rstrip("0").rstrip(".")
    return "0" if text == "-0" else text.replace("-", "−")


def plain(value: Any) -> Any:
    """What JSON can hold: arrays as lists, NumPy's numbers as Python's."""
    if isinstance(value, dict):
        return {str(name): plain(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [plain(each) for each in value]
    if isinstance(value, np.ndarray):
        return plain(value.tolist())
    if isinstance(value, np.generic):
        return plain(value.item())
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value
