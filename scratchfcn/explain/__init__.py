"""Pages that show how an operation works, in the sizes that you ask for; `scratchfcn explain` lists them.

Each page is one HTML file that needs nothing else: open it from the disk, send it to somebody, read it on a phone. A
PNG file of the same name beside it shows one step, for a report or a slide.

To read: topics/conv.py (a topic is a small module that computes numbers with the library's own operations),
templates/conv.html and conv.js (its words, and what moves), then page.py, which puts them together.
"""

from .page import Choice, Code, Page, Setting, SettingsError, render, write
from .topics import TOPICS, build

__all__ = ["TOPICS", "Choice", "Code", "Page", "Setting", "SettingsError", "build", "render", "write"]
