"""One look for all reports: a page that needs no network and no script, that prints, and that a phone can show.

A report computes plain values, and its template (templates/NAME.html.j2) fills the blocks of base.html.j2. Pictures
travel inside the page, as PNG or JPEG in base64, so that the file can be sent to somebody as it is.
"""

from __future__ import annotations

import base64
import io
from pathlib import Path
from typing import Any

import numpy as np

from ..files import replacing

TEMPLATES = Path(__file__).with_name("templates")


def render(template: str, **content: Any) -> str:
    """The page of `templates/{template}.html.j2`. The template gets `content`, and `picture`, `percent`, `version`."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    from .. import __version__

    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,  # class names and file names are other people's
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"percent": percent, "picture": picture}
    return environment.get_template(f"{template}.html.j2").render(version=__version__, **content)


def write_page(path: str | Path, html: str) -> Path:
    """Write the page, whole or not at all; returns its path."""
    path = Path(path)
    with replacing(path) as temporary:
        Path(temporary).write_text(html, encoding="utf-8")
    return path


def picture(pixels: np.ndarray, quality: int | None = None) -> str:
    """uint8 (H, W, 3) as the address of an <img>: PNG, or JPEG of that quality, which is smaller for photographs."""
    from PIL import Image

    file = io.BytesIO()
    kind = "PNG" if quality is None else "JPEG"
    Image.fromarray(pixels).save(file, kind, **({} if quality is None else {"quality": quality}))
    return f"data:image/{kind.lower()};base64,{base64.b64encode(file.getvalue()).decode()}"


def percent(share: float, digits: int = 1) -> str:
    """0.1234 → "12.3%"; what is not a number is "–"."""
    return "–" if np.isnan(share) else f"{100 * share:.{digits}f}%"
