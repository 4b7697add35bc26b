"""Why is it so? What all masks together say about the cause, and what to do about it.

One mask that holds {0, 7} can be anything. Three hundred masks that hold 0..6, and 7 in a few pixels each, have a void
value that nobody has declared; a data set whose masks hold 1..7 and never a 0 counts from one. So the causes are worked
out once everything has been read, from sums over all splits.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from ..datasets import as_set
from ..palette import IGNORE, VOC_NAMES
from .evidence import Evidence
from .palettes import fitting, most_frequent, own_palette
from .patterns import blurred, spread
from .problems import Group, Problem, by_kind_and_cause

Explained = tuple[str, list[str], str]  # the cause in words, what to do, and the --fix that does it


def explain(problems: Sequence[Problem], evidence: Evidence) -> list[Group]:
    """Sort problems by kind and cause, and say of each group what is behind it."""
    groups = []
    for members in by_kind_and_cause(problems):
        kind, key = members[0].kind, members[0].cause
        known = FILES.get(key) if kind == "unreadable" else None
        cause, fixes, repair = known or EXPLAIN.get(kind, _as_advised)(members, evidence)
        if kind in ("layout", "unpaired"):
            fixes = [*fixes, *evidence.advice.get(kind, [])]
        groups.append(Group(kind, members, cause, list(dict.fromkeys(fixes)), repair))
    return groups


# What a single file gives away (see bad_files.py).
FILES: dict[str, Explained] = {
    "git lfs": (
        "the repository was cloned without its large files",
        ["in the repository: git lfs install, then git lfs pull"],
        "",
    ),
    "web page": (
        "the server sent a page, most likely one that asks for a login or says that a limit is reached",
        ["download these files again, in a browser or with the account they need"],
        "",
    ),
    "message": (
        "the server answered with a message of its own",
        ["read the files as text, and download them again"],
        "",
    ),
    "heic": ("telephones take pictures in this format", ["convert them to JPEG or PNG"], ""),
    "archive": ("an archive was given the name of a picture", ["unpack it"], ""),
    "pdf": ("", ["export the pages as PNG"], ""),
    "zeros": ("the disk was full, or the copy was interrupted", ["copy or download these files again"], ""),
    "empty": ("the disk was full, or the download was refused", ["copy or download these files again"], ""),
    "cut short": (
        "the copy or the download was interrupted",
        ["copy or download these files again; a viewer that shows them may hide the damage"],
        "",
    ),
    "missing": ("the link leads nowhere, or the file was removed meanwhile", ["put the files where they belong"], ""),
    "forbidden": ("", ["give yourself the right to read them: chmod u+r"], ""),
    "no picture": ("", ["replace these files, or remove them and what belongs to them"], ""),
}


def _as_advised(members: list[Problem], evidence: Evidence) -> Explained:
    return "", [], ""


def _colours(members: list[Problem], evidence: Evidence) -> Explained:
    if members[0].cause == "photograph":
        return (
            "photographs lie where the masks should: are the two folders swapped?",
            ["a mask is a PNG whose pixel values are class numbers"],
            "",
        )
    colours = evidence.tally.colours
    found = fitting(colours, evidence.root)
    if not found:
        known = f"no known palette has these colours: {most_frequent(colours)}"
        return known, [f"{own_palette(evidence.root or Path())}; then {evidence.command('colours')}"], ""
    titles = ", and also ".join(palette.title for palette, _ in found)
    cause = f"they are the pictures that viewers show: {found[0][1]:.1%} of the pixels have a colour of {titles}"
    if len(found) == 1:
        return cause, [evidence.command("colours")], "colours"
    fixes = [f"if {p.title}: {evidence.command('colours', f' --palette {p.name}')}" for p, _ in found]
    return cause, fixes, ""


def _order(members: list[Problem], evidence: Evidence) -> Explained:
    cause = (
        "the program that saved them sorted the palette anew, so the numbers changed while the picture looks the same"
    )
    return cause, [evidence.command("colours")], "colours"


def _binary(members: list[Problem], evidence: Evidence) -> Explained:
    return "", [evidence.command("binary"), *_as_values([0, IGNORE], evidence)], "binary"


def _as_values(values: list[int], evidence: Evidence) -> list[str]:
    """The way out that leaves the masks as they are: to say which value is which class."""
    if evidence.root is None or evidence.fixed_classes or len(values) > 12:
        return []
    names = ", ".join(f'"name {k}"' for k in range(len(values)))
    file = evidence.root / "classes.toml"
    return [f"leave the masks as they are and say so in {file}: names = [{names}], values = {values}"]


def _size(members: list[Problem], evidence: Evidence) -> Explained:
    return {
        "exif": (
            "the photographs carry a note (EXIF) that they are to be shown turned by 90°, and their masks were drawn "
            "without looking at it",
            [f"turns the masks likewise: {evidence.command('sizes')}"],
            "sizes",
        ),
        "turned": (
            "the one is as wide as the other is high: one of them was turned by 90°",
            ["turn the mask, or the image; which way, a look at the two must tell"],
            "",  # not even by --fix sizes
        ),
        "scaled": (
            "the masks have the shape of their images, but another resolution",
            [f"enlarges or reduces the masks, without mixing ids: {evidence.command('sizes')}"],
            "sizes",
        ),
        "shape": (
            "the shapes differ: the one was cropped or stretched, or the two do not belong together; --fix sizes would "
            "stretch the masks, which is right in one of these cases only",
            [],
            "sizes",
        ),
    }[members[0].cause]


def _jpeg(members: list[Problem], evidence: Evidence) -> Explained:
    cause = "JPEG changes numbers a little, which is no harm in a photograph and makes other classes of class ids"
    again = "save the masks again as PNG, from what the JPEGs were made of"
    if members[0].cause != "black and white":
        return cause, [again], ""
    repair = f"since they are black and white (edges may be off by a pixel): {evidence.command('threshold')}"
    return cause, [again, repair], "threshold"


def _deep(members: list[Problem], evidence: Evidence) -> Explained:
    values = sorted(evidence.tally.deep)
    renumber = evidence.command("renumber")
    if members[0].cause == "fractions":
        return "", ["save the masks with whole numbers, 8 bits"], ""
    if members[0].cause == "depth":
        return "more than 256 different values: a depth map, or numbers of instances", ["use masks of class ids"], ""
    if values[-1] >= 1000 and all(24 <= value // 1000 <= 33 for value in values if value >= 1000):
        cause = "values such as 26001 are Cityscapes' numbers of instances: class 26, the 2nd of them"
        return cause, ["take the files that end in _labelIds.png"], ""
    if members[0].cause == "bits":
        return "all values are ids times 257 or 256: scaled from 8 bits to 16", [evidence.command("bits")], "bits"
    return f"values {as_set(values)} in all: ids spread out, to be told apart by eye", [renumber], "renumber"


def _values(members: list[Problem], evidence: Evidence) -> Explained:
    bad, K = evidence.bad, len(evidence.classes or ())
    listed = ",".join(str(value) for value in bad[:10])
    if evidence.fixed_classes:
        return "", [f"if {as_set(bad)} mean 'not labelled': --ignore {listed}"], ""
    if K <= 2 and blurred(evidence.tally.pixels):
        return _smooth(members, evidence)
    if _are_greys(evidence):
        cause = "grey is a colour, too: other masks are pictures of colours, and these are such pictures in greys only"
        return cause, [evidence.command("colours")], "colours"
    found = spread(evidence.tally.pixels, evidence.used)
    if found is not None:
        return _renumbered(found, evidence)
    if bad == [K] and 0 not in evidence.used:
        cause = f"the masks seem to count from 1 to {K}; subtract 1, so that the first class is 0"
        return cause, [evidence.command("offbyone"), *_as_values(list(range(1, K + 1)), evidence)], "offbyone"
    as_classes = f"if {as_set(bad)} are classes, ask for {bad[-1] + 1} of them: --num-classes {bad[-1] + 1}"
    as_void = f"if they mean 'not labelled', write ignore = {bad[:10]} into classes.toml, or give --ignore {listed}"
    if bad == [K]:
        cause = "one value too many: void, a class more, or ids that count from 1 with 0 for 'not labelled'"
        return cause, [as_void, as_classes, f"if ids count from 1: {evidence.command('offbyone')}"], ""
    if len(bad) == 1:
        return f"{bad[0]} stands alone, far from the ids, as a void value does", [as_void, as_classes], ""
    return "", [as_classes, as_void], ""


def _are_greys(evidence: Evidence) -> bool:
    """Whether the values that are no class are greys of the palette that other masks, colour pictures, have."""
    found = fitting(evidence.tally.colours, evidence.root)
    return len(found) == 1 and all(grey << 16 | grey << 8 | grey in found[0][0].meaning for grey in evidence.bad)


def _classes(members: list[Problem], evidence: Evidence) -> Explained:
    found = spread(evidence.tally.pixels, evidence.used)
    if found is not None:
        return _renumbered(found, evidence)
    used, advice = evidence.used, evidence.advice.get("classes", [])
    if len(used) == 2 and used[0] == 0:
        cause = f"0 and {used[1]} only: this looks like a binary mask, in which {used[1]} stands for the object"
        return cause, [evidence.command("renumber"), *_as_values(used, evidence), *advice[1:]], "renumber"
    if len(used) > 2 and used[-1] > used[-2] + 1 and used[:-1] == list(range(len(used) - 1)):
        cause = f"{used[-1]} stands alone, far from the ids 0..{used[-2]}, as a void value does"
        return cause, [f"if it means 'not labelled': --ignore {used[-1]}", *advice], ""
    if used and used[-1] < len(VOC_NAMES):
        return "", [f"if they are PASCAL VOC's ids: --num-classes {len(VOC_NAMES)}", *advice], ""
    return "", advice, ""


def _twice(members: list[Problem], evidence: Evidence) -> Explained:
    return (
        "a network is asked about images that it has learned, so its scores look better than it is",
        ["leave each of these images in one split only", evidence.copying("duplicates")],
        "duplicates",
    )


def _shared(members: list[Problem], evidence: Evidence) -> Explained:
    cause = "lists for cross-validation may; of what is trained on and what is measured on, none should"
    return cause, [_twice(members, evidence)[1][0]], ""


def _look_alike(members: list[Problem], evidence: Evidence) -> Explained:
    cause = "saved again, or in another size; or frames of a camera that does not move"
    look = "look at them; an image belongs into one split only (--no-duplicates leaves this search out)"
    return cause, [look, evidence.copying("duplicates")], "duplicates"


def _repeated(members: list[Problem], evidence: Evidence) -> Explained:
    fixes = ["remove all but one of each, unless they are meant to count several times"]
    if any("masks differ" in problem.text for problem in members):
        fixes.append("where the masks differ, a network is taught two answers to one question: decide for one")
    return "", fixes, ""


def _similar(members: list[Problem], evidence: Evidence) -> Explained:
    return _look_alike(members, evidence)[0], ["look at them, and remove what is there twice"], ""


def _from_one(members: list[Problem], evidence: Evidence) -> Explained:
    fixes = [f"if ids count from 1: {evidence.command('offbyone')}", "if 0 is a class that does not occur, do nothing"]
    return "the masks seem to count from 1, and class 0 would be learned for nothing", fixes, "offbyone"


def _unlearnable(members: list[Problem], evidence: Evidence) -> Explained:
    fixes = ["move some images that show them to the training split", "take them out of the list of classes"]
    return "nobody can learn what is never shown; the mean over all classes suffers", fixes, ""


def _absent(members: list[Problem], evidence: Evidence) -> Explained:
    return "", ["if they are not there by mistake, look for the images that show them"], ""


def _renumbered(values: list[int], evidence: Evidence) -> Explained:
    cause = f"the ids were spread out to be seen: {as_set(values)} stand for 0..{len(values) - 1}"
    return cause, [evidence.command("renumber"), *_as_values(values, evidence)], "renumber"


def _smooth(members: list[Problem], evidence: Evidence) -> Explained:
    cause = "a mask of 0 and 255 was scaled or saved with blurring; the values between are no classes, but edges"
    return cause, [evidence.command("threshold")], "threshold"


EXPLAIN: dict[str, Callable[[list[Problem], Evidence], Explained]] = {
    "colours": _colours,
    "order": _order,
    "binary": _binary,
    "size": _size,
    "jpeg": _jpeg,
    "deep": _deep,
    "values": _values,
    "classes": _classes,
    "smooth": _smooth,
    "shared": _shared,
    "duplicate": _twice,
    "near": _look_alike,
    "repeated": _repeated,
    "similar": _similar,
    "from one": _from_one,
    "unlearnable": _unlearnable,
    "absent": _absent,
}
