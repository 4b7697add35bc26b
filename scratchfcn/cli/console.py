"""What the commands print with: plain lines, whole paths, and class names and folders exactly as they are."""

from rich.console import Console


def make_console() -> Console:
    """No markup, because a folder may be called "[red]"; no wrapping, because paths are copied from here."""
    return Console(soft_wrap=True, markup=False, highlight=False)
