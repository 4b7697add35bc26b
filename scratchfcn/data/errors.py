"""One exception for everything that can be wrong with a folder of pictures.

A data set is repaired in one sitting, not one crash at a time. So whoever looks for trouble collects every
problem of its kind and raises them together; the message then reads as a list of things to do.
"""

from collections.abc import Iterable

SHOWN = 20  # problems printed; more would scroll the first one, often the cause of the rest, off the screen


class DataError(ValueError):
    """Problems with images, masks, class lists or folders, in words meant for the person who owns them.

    Args:
        problems: one text or several, each complete in itself and naming the file or folder it is about.
        advice: what to do about it, one line each.

    Attributes:
        problems: list of str, all of them, also those that `str()` leaves out.
        advice: list of str.
    """

    def __init__(self, problems: str | Iterable[str], advice: str | Iterable[str] = ()) -> None:
        self.problems = [problems] if isinstance(problems, str) else list(problems)
        self.advice = [advice] if isinstance(advice, str) else list(advice)
        super().__init__(self.problems, self.advice)  # what copying and pickling pass to __init__ again

    def __str__(self) -> str:
        lines = [f"✗ {problem}" for problem in self.problems[:SHOWN]]
        if len(self.problems) > SHOWN:
            lines.append(f"… and {len(self.problems) - SHOWN} more")
        lines += [f"  fix: {line}" for line in self.advice]
        return "\n".join(lines)
