"""What the learner's `test_exercises.py` is made of: one test per exercise."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from .exercise import EXERCISES, Exercise
from .folder import Folder
from .runner import run


def tests_of(test_file: str) -> Callable[..., None]:
    """A test, parametrised over the exercises, of the files beside `test_file`."""
    import pytest

    folder = Folder(Path(test_file).parent)
    names = [exercise.file_name.removesuffix(".py") for exercise in EXERCISES]

    @pytest.mark.parametrize("exercise", EXERCISES, ids=names)
    def test_exercise(exercise: Exercise) -> None:
        result = run(exercise, folder.file(exercise), output=folder.output)
        if not result.passed:
            pytest.fail(result.text, pytrace=False)
        folder.remember_passed(exercise)

    return test_exercise
