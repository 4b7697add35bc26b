"""`scratchfcn learn`: the learner's folder, the commands, and what is said about code that is not right."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from scratchfcn.cli import app
from scratchfcn.learn import EXERCISES, Exercise, LearnError, Trial, find, find_folder, init, runner, trial
from scratchfcn.learn import folder as folder_module
from scratchfcn.learn.compare import compare, pattern
from scratchfcn.learn.folder import MEMORY, Folder
from scratchfcn.learn.watch import watch

RELU = find("06")
RIGHT = RELU.solution


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Folder:
    """A new folder with exercises, `my-fcn` in the current directory."""
    monkeypatch.chdir(tmp_path)
    return init(Path("my-fcn"))[0]


def learn(*args: str) -> Result:
    return CliRunner().invoke(app, ["learn", *args], prog_name="scratchfcn")


def write(folder: Folder, exercise: Exercise, source: str) -> None:
    folder.file(exercise).write_text(source, encoding="utf-8")


def said(folder: Folder, source: str) -> str:
    """What `learn run 06` prints about `source`, which is wrong."""
    write(folder, RELU, source)
    result = learn("run", "06")
    assert result.exit_code == 1, result.output
    assert "Traceback" not in result.output
    assert str(Path(runner.__file__).parent) not in result.output  # none of our own frames
    return result.stdout


# --- the folder ---------------------------------------------------------------------------------------------


def test_init_makes_a_folder_with_all_blanks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    result = learn("init", "a/my-fcn")
    assert result.exit_code == 0
    assert f"a/my-fcn: {len(EXERCISES)} exercises added" in result.stdout
    assert f"open {Path('a/my-fcn/01_output_size.py')}" in result.stdout
    for exercise in EXERCISES:
        assert (tmp_path / "a/my-fcn" / exercise.file_name).read_text(encoding="utf-8") == exercise.blank


def test_init_never_overwrites(folder: Folder) -> None:
    write(folder, RELU, "mine")
    (folder.path / "test_exercises.py").write_text("my tests", encoding="utf-8")
    folder.remember_passed(RELU)
    folder.file(find("03")).unlink()
    result = learn("init", "my-fcn")
    assert f"1 exercises added; {len(EXERCISES) - 1} were there and stay as they are" in result.stdout
    assert folder.file(RELU).read_text(encoding="utf-8") == "mine"
    assert (folder.path / "test_exercises.py").read_text(encoding="utf-8") == "my tests"
    assert folder.passed(RELU)
    assert folder.file(find("03")).exists()
    assert "nothing was changed" in learn("init", "my-fcn").stdout


def test_init_into_a_folder_with_other_things_in_it(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    init(tmp_path)
    assert (tmp_path / "notes.txt").read_text() == "mine"


def test_init_on_a_file(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("mine")
    result = learn("init", str(tmp_path / "taken"))
    assert result.exit_code == 2
    assert "taken is a file; give the name of a folder to make" in result.stderr


def test_the_folder_is_found_from_where_people_stand(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    assert find_folder().path == Path("my-fcn")  # below
    absolute = folder.path.resolve()
    monkeypatch.chdir(absolute)
    assert find_folder().path == absolute  # here
    (absolute / "deeper").mkdir()
    monkeypatch.chdir(absolute / "deeper")
    assert find_folder().path == absolute  # above
    monkeypatch.chdir("/")
    assert find_folder(absolute).path == absolute  # --dir


def test_no_folder_and_too_many_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for args in (["list"], ["run", "03"], ["check-all"], ["watch"], ["hint", "03"], ["run", "03", "--dir", "."]):
        result = learn(*args)
        assert result.exit_code == 2
        assert "fix: scratchfcn learn init" in result.stderr
    init(Path("a"))
    init(Path("b"))
    assert "several folders with exercises here: a, b\n  fix: add --dir a" in learn("list").stderr
    assert learn("list", "--dir", "b").exit_code == 0


def test_which_exercise_is_meant() -> None:
    for text in ("3", "03", "conv_backward", "03_conv_backward", "my-fcn/03_conv_backward.py"):
        assert find(text).file_name == "03_conv_backward.py"
    with pytest.raises(LearnError, match=r"there is no exercise '99'; there are 01 to \d\d: `scratchfcn learn list`"):
        find("99")
    assert learn("run", "99").exit_code == 2


# --- what is remembered -------------------------------------------------------------------------------------


def test_the_memory_keeps_what_a_later_version_wrote(folder: Folder) -> None:
    memory = {"version": 7, "passed": {"01": {"on": "once", "medal": "gold"}}, "hints": {"02": 3}, "streak": [1, 2]}
    (folder.path / MEMORY).write_text(json.dumps(memory), encoding="utf-8")
    assert folder.passed(find("01"))
    assert folder.hints_read(find("02")) == 3
    folder.remember_hint(RELU, 1)
    folder.remember_passed(find("01"))
    after = json.loads((folder.path / MEMORY).read_text(encoding="utf-8"))
    assert (after["version"], after["streak"]) == (7, [1, 2])
    assert after["passed"]["01"]["medal"] == "gold"
    assert after["passed"]["01"]["on"] == "once"
    assert after["hints"] == {"02": 3, "06": 1}


@pytest.mark.parametrize("broken", ["", '{"passed": {"01"', "[]", '{"passed": 3, "hints": null}'])
def test_a_broken_memory_is_no_obstacle(broken: str, folder: Folder) -> None:
    (folder.path / MEMORY).write_text(broken, encoding="utf-8")
    assert learn("list").exit_code == 0
    assert not folder.passed(RELU)
    assert folder.remember_passed(RELU)
    assert folder.passed(RELU)
    kept = folder.path / (MEMORY + ".bak")
    if kept.exists():
        assert kept.read_text(encoding="utf-8") == broken


def test_two_programs_that_remember_at_once(folder: Folder) -> None:
    program = (
        "import sys; from pathlib import Path; from scratchfcn.learn import EXERCISES, Folder\n"
        "for i in range(40): Folder(Path('my-fcn')).remember_hint(EXERCISES[int(sys.argv[1])], i)"
    )
    running = [subprocess.Popen([sys.executable, "-c", program, str(i)]) for i in range(2)]
    assert [process.wait() for process in running] == [0, 0]
    assert [folder.hints_read(exercise) for exercise in EXERCISES[:2]] == [39, 39]


def test_a_killed_program_leaves_no_obstacle(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folder_module, "PATIENCE", 0.1)
    (folder.path / (MEMORY + ".claim")).touch()
    folder.remember_hint(RELU, 2)
    assert folder.hints_read(RELU) == 2
    assert not (folder.path / (MEMORY + ".claim")).exists()


def test_list_says_how_far_one_is(folder: Folder) -> None:
    write(folder, RELU, RIGHT)
    assert learn("run", "06").exit_code == 0
    write(folder, find("02"), "x = 1")
    learn("hint", "02")
    folder.file(find("05")).unlink()
    lines = learn("list").stdout.splitlines()
    assert lines[0].startswith("→ 01  how large is the output?")
    assert lines[0].endswith("not begun")
    assert lines[1].endswith("begun   (hint 1 of 3 read)")
    assert lines[4].endswith("no file; `init` again adds it")
    assert lines[5].startswith("✓ 06")
    assert lines[5].endswith("  passed")
    assert lines[-1].startswith(f"1 of {len(EXERCISES)} passed; next: ")
    write(folder, RELU, RIGHT + "\n# better\n")
    assert learn("list").stdout.splitlines()[5].endswith("  passed; changed since")


# --- the commands -------------------------------------------------------------------------------------------


def test_run_a_blank(folder: Folder) -> None:
    result = learn("run", "06")
    assert result.exit_code == 1
    assert result.stdout.splitlines()[2:] == [
        "  06 relu: not written yet",
        "  hint: scratchfcn learn hint 06",
        f"  file: {folder.file(RELU)}",
    ]


def test_run_without_a_number_takes_the_next(folder: Folder) -> None:
    assert "01 output_size: not written yet" in learn("run").stdout
    write(folder, find("01"), find("01").solution)
    assert learn("run").exit_code == 0
    assert "02 conv2d: not written yet" in learn("run").stdout


def test_the_solution_is_shown_after_passing_and_once(folder: Folder) -> None:
    mine = RIGHT.replace("gy * (x > 0)", "(x > 0) * gy")
    write(folder, RELU, mine)
    first = learn("run", "06")
    assert first.exit_code == 0
    assert RIGHT in first.stdout
    assert f"next: {folder.file(find('01'))}" in first.stdout
    again = learn("run", "06")
    assert again.exit_code == 0
    assert RIGHT not in again.stdout
    assert "-    return (x > 0) * gy\n+    return gy * (x > 0)" in learn("diff", "06").stdout
    assert RIGHT in learn("solution", "06").stdout


def test_before_passing_there_is_a_way_to_the_solution(folder: Folder) -> None:
    for command in ("diff", "solution"):
        result = learn(command, "06")
        assert result.exit_code == 2
        assert "not passed yet" in result.stderr
        assert "scratchfcn learn hint 06" in result.stderr
        assert "scratchfcn learn solution 06 --yes" in result.stderr
    assert RIGHT in learn("solution", "06", "--yes").stdout


def test_hints_go_on_by_themselves(folder: Folder) -> None:
    for level in (1, 2, 3, 3):
        result = learn("hint", "06")
        assert f"hint {level} of 3\n\n{RELU.hints[level - 1]}\n" in result.stdout
    assert "scratchfcn learn solution 06 --yes" in result.stdout
    assert RELU.hints[0] in learn("hint", "06", "--level", "1").stdout
    assert folder.hints_read(RELU) == 3
    assert learn("hint", "06", "--level", "4").exit_code == 2
    assert find("01").hints[0] in learn("hint").stdout


def test_reset_keeps_what_was_written(folder: Folder) -> None:
    assert learn("reset", "06").stdout == f"{folder.file(RELU)} is the blank again\n"  # it was the blank
    backups = [folder.file(RELU).with_name(RELU.file_name + end) for end in (".bak", ".bak2", ".bak3")]
    for i, backup in enumerate(backups):
        write(folder, RELU, f"mine {i}")
        assert learn("reset", "06").stdout.rstrip().endswith(f"what you wrote is in {backup}")
        assert folder.file(RELU).read_text(encoding="utf-8") == RELU.blank
    assert [b.read_text(encoding="utf-8") for b in backups] == ["mine 0", "mine 1", "mine 2"]
    folder.file(RELU).unlink()
    learn("reset", "06")
    assert folder.file(RELU).read_text(encoding="utf-8") == RELU.blank


def test_check_all(folder: Folder) -> None:
    write(folder, RELU, RIGHT)
    result = learn("check-all")
    assert result.exit_code == 1
    lines = result.stdout.splitlines()
    assert lines[0] == "✗ 01 how large is the output?: 01 output_size: not written yet"
    assert lines[5] == "✓ 06 ReLU, forward and backward"
    assert lines[-1] == f"1 of {len(EXERCISES)} right (cpu)"
    assert folder.passed(RELU)


def test_check_all_on_the_solutions_is_quick(folder: Folder) -> None:
    for exercise in EXERCISES:
        write(folder, exercise, exercise.solution)
    start = time.perf_counter()
    result = learn("check-all")
    assert result.exit_code == 0, result.output
    assert time.perf_counter() - start < 60
    assert learn("run").exit_code == 2  # nothing is left
    assert "every exercise is passed" in learn("run").stderr


def test_a_device_that_is_not_there(folder: Folder) -> None:
    result = learn("run", "06", "--device", "tpu")
    assert result.exit_code == 2
    assert "device 'tpu' is not known" in result.stderr


def test_no_exercise_looks_at_the_others(folder: Folder) -> None:
    for exercise in EXERCISES:
        write(folder, exercise, "raise RuntimeError('not mine')")
    write(folder, RELU, RIGHT)
    assert learn("run", "06").exit_code == 0


def test_learning_needs_no_drawing_library() -> None:
    program = "import sys, scratchfcn.learn; sys.exit(bool({'matplotlib', 'PIL', 'rich'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


# --- what can be wrong with a file --------------------------------------------------------------------------


def edited(old: str, new: str) -> str:
    assert old in RIGHT
    return RIGHT.replace(old, new)


WRONG_FILES = [
    (edited("return gy *", "return gy * *"), ["06_relu.py, line 17: invalid syntax", "return gy * * (x > 0)"]),
    (edited("import numpy as np", "import nunpy"), ["cannot be loaded: ModuleNotFoundError", "line 7: import nunpy"]),
    (RIGHT + "\n1 / 0\n", ["cannot be loaded: ZeroDivisionError", "line 19: 1 / 0"]),
    (RIGHT + "\nraise SystemExit(3)\n", ["cannot be loaded: SystemExit: 3"]),
    (edited("def relu_backward", "def relu_back"), ["no function relu_backward", "called as relu_backward(gy, x)"]),
    (edited("(gy: np.ndarray, x: np.ndarray)", "(gy)"), ["relu_backward(gy) -> ", "cannot be called as"]),
    (edited("return gy *", "gy ="), ["relu_backward returns nothing (None)", "fix: end it with `return gx`"]),
    (edited("gy * (x > 0)", "[1, 2]"), ["gx is a list of 2; an array of shape (3, 2) is expected"]),
    (edited("gy * (x > 0)", "gy, x"), ["gx is a tuple of 2"]),
    (edited("gy * (x > 0)", "gy[0]"), ["relu_backward: gx has shape (2,), expected (3, 2)"]),
    (edited("gy * (x > 0)", "(gy * (x > 0)).astype(float)"), ["gx is float64, expected float32", "x.dtype"]),
    (edited("gy * (x > 0)", "gy @ x"), ["relu_backward raises ValueError", "at 06_relu.py, line 17: return gy @ x"]),
    (
        edited("gy * (x > 0)", "helper(gy)\n\n\ndef helper(g):\n    return g.nope"),
        ["at 06_relu.py, line 21: return g.nope"],
    ),
    (edited("return gy", "import sys; sys.exit()\n    return gy"), ["relu_backward raises SystemExit"]),
    (edited("return gy", "raise NotImplementedError\n    return gy"), ["relu_backward raises NotImplementedError"]),
    (
        edited("return gy * (x > 0)", "gy *= x > 0\n    return gy"),
        ["✗ arguments stay as they were", "relu_backward changes its argument gy", "gy = gy.copy()"],
    ),
    (edited("return gy *", "print('hello', gy.shape)\n    return 2 * gy *"), ["your print() says:\n    hello (3, 2)"]),
    (edited("gy * (x > 0)", "gy / 0 * (x > 0)"), ["yours holds NaN or infinity"]),
    (edited("gy * (x > 0)", "np.full_like(gy, np.nan)"), ["yours  nan"]),
]


@pytest.mark.parametrize(("source", "texts"), WRONG_FILES, ids=[texts[0] for _, texts in WRONG_FILES])
def test_one_clear_message(source: str, texts: list[str], folder: Folder) -> None:
    output = said(folder, source)
    for text in texts:
        assert text in output, output
    assert "  hint: scratchfcn learn hint 06\n" in output


def test_what_is_written_so_far_is_checked(folder: Folder) -> None:
    output = said(
        folder, edited("return gy * (x > 0)", 'raise NotImplementedError("06 relu_backward: not written yet")')
    )
    assert output.splitlines()[1:5] == [
        "  ✓ relu: small numbers, worked out by hand",
        "  ✓ relu: other shapes",
        "",
        "  06 relu_backward: not written yet",
    ]


def test_prints_are_shown_where_the_exercise_is_right_too(folder: Folder) -> None:
    write(folder, RELU, edited("return gy", "print('in', gy.shape)\n    return gy") + "print('loaded')\n")
    output = learn("run", "06").stdout
    assert "your print() says:\n    loaded\n    in (" in output
    assert output.count("in (") == 1  # of the last call; there were many


def test_a_file_that_is_not_there_or_not_text(folder: Folder) -> None:
    folder.file(RELU).unlink()
    assert "06_relu.py is not there\n    fix: scratchfcn learn reset 06" in learn("run", "06").stdout
    folder.file(RELU).write_bytes(b"\xff\xfe\x00")
    assert "06_relu.py is not text in UTF-8" in learn("run", "06").stdout


def test_numbers_side_by_side_and_stages(folder: Folder) -> None:
    output = said(folder, edited("gy * (x > 0)", "gy * (x >= 0)"))
    assert "  ✓ relu: other shapes\n  ✗ relu_backward: small numbers, worked out by hand\n" in output
    assert "gx  shape (3,2)   1 of 6 numbers wrong" in output
    assert "worst at gx[1,0]  (row 1, col 0)" in output
    assert "yours  3     by hand  0" in output
    assert "        yours, gx   by hand\n         0  -2       0 -2\n         3*  0       0  0\n" in output
    assert "known mistake: the slope at exactly 0 is taken as 1" in output


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="there is no alarm on this system")
def test_a_loop_that_does_not_end(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trial, "SECONDS", 0.2)
    monkeypatch.setattr(runner, "SECONDS", 0.2)
    endless = "while True:\n        try:\n            pass\n        except Exception:\n            pass\n    return gy"
    output = said(folder, edited("return gy", endless))
    assert "relu_backward has not returned after 0.2 seconds: a loop that does not end?" in output
    assert "it was at 06_relu.py, line " in output
    assert "06_relu.py has not been loaded after 0.2 seconds" in said(folder, "while True:\n    pass\n")


def test_ctrl_c_says_where_the_code_was(folder: Folder) -> None:
    write(folder, RELU, edited("return gy", "raise KeyboardInterrupt\n    return gy"))
    result = learn("run", "06")
    assert result.exit_code == 130
    assert result.stderr == "\n✗ stopped in 06_relu.py, line 17: raise KeyboardInterrupt\n"


def test_the_failing_call_can_be_made_again(folder: Folder) -> None:
    output = said(folder, edited("gy * (x > 0)", "gy * x"))
    script = folder.output / "06.py"
    assert f"reproduce: python {script} " in output
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, check=True)
    assert "relu_backward returns [[" in done.stdout
    assert "gy = [[ 1. -2.]" in done.stdout


def test_what_cannot_be_written_does_not_hide_the_message(folder: Folder) -> None:
    (folder.path / ".out").write_text("in the way")
    output = said(folder, edited("gy * (x > 0)", "gy * x"))
    assert "numbers wrong" in output
    assert "reproduce" not in output


def test_naming_mistakes_is_an_extra(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "scratchfcn.mistakes", None)  # importing it fails
    write(folder, find("03"), find("03").solution.replace("gx, gw, gy", "gx, gw / 3, gy"))
    output = learn("run", "03").stdout
    assert "known mistake: none that I recognise" in output
    assert "yours × 3 = expected, everywhere" in output


def test_another_seed_draws_other_cases(folder: Folder) -> None:
    only_small = edited("gy * (x > 0)", "gy * (x > 0) * (1 if x.size < 100 else 2)")
    write(folder, RELU, only_small)
    results = {learn("run", "06", "--seed", str(seed)).stdout.partition("call: ")[2][:60] for seed in range(4)}
    assert len(results) > 1


# --- comparing ----------------------------------------------------------------------------------------------


def test_the_relative_error_has_a_floor() -> None:
    right = np.array([1.0, 0.0, 1e-9])
    assert compare("y", right + 1e-11, right).wrong == 0
    assert compare("y", right + 1e-3, right).wrong == 3
    assert compare("y", np.array([np.nan, 0.0, 0.0]), np.array([np.nan, 0.0, 0.0])).wrong == 0
    assert compare("y", np.zeros(2), np.array([0.0, 1e-12])).wrong == 0
    assert compare("y", np.array([3, 4]), np.array([3, 5])).wrong == 1


def test_patterns() -> None:
    right = np.random.default_rng(0).standard_normal((2, 2, 5, 5))
    border = right.copy()
    border[..., 0, :] += 1
    for got, words in [
        (right / 2, "yours × 2 = expected"),
        (-right, "the sign is flipped"),
        (right.swapaxes(2, 3), "rows and columns are exchanged"),
        (right[..., ::-1, ::-1], "flipped"),
        (right.swapaxes(0, 1), "the first two axes are exchanged"),
        (np.roll(right, 1, 3), "the right numbers in other places"),
        (border, "only the border is wrong"),
        (right + 3, "yours + -3 = expected"),
        (0 * right, "yours is 0 everywhere"),
    ]:
        assert words in (pattern(got, right) or ""), words
    assert pattern(right**2, right) is None


def test_the_check_must_call_with_the_blanks_arguments(tmp_path: Path) -> None:
    module, _ = runner.load(RELU, write_solution(tmp_path))
    with pytest.raises(AssertionError, match="the blank has"):
        Trial(RELU, tmp_path / "x.py", module).call("relu", {"y": np.zeros(3)})


def write_solution(folder: Path) -> Path:
    path = folder / RELU.file_name
    path.write_text(RIGHT, encoding="utf-8")
    return path


# --- watching -----------------------------------------------------------------------------------------------


class Watched:
    """Runs `watch` with a clock of its own: before every look at the files, the next of `actions` happens."""

    def __init__(self, folder: Folder, actions: list[Callable[[], None]]) -> None:
        self.folder, self.actions, self.checked, self.lines, self.looks = folder, iter(actions), [], [], 0
        self.stopped = False
        try:
            watch(folder, self.check, self.lines.append, self.sleep)
        except KeyboardInterrupt:
            self.stopped = True

    def check(self, exercise: Exercise) -> bool:
        result = runner.run(exercise, self.folder.file(exercise))
        self.checked.append((exercise.number, result.passed))
        if result.passed:
            self.folder.remember_passed(exercise)
        return result.passed

    def sleep(self, seconds: float) -> None:
        self.looks += 1
        action = next(self.actions, None)
        if action is None:
            raise KeyboardInterrupt
        action()


def nothing() -> None:
    pass


def saver(folder: Folder, number: str, source: str) -> Callable[[], None]:
    """An action: save `source`, a second later than the last time (file systems may not tell less apart)."""

    def save() -> None:
        file = folder.file(find(number))
        before = file.stat().st_mtime_ns
        file.write_text(source, encoding="utf-8")
        os.utime(file, ns=(before + 10**9, before + 10**9))

    return save


def test_watch_checks_once_per_save_and_goes_on_by_itself(folder: Folder) -> None:
    wrong, right = find("01").solution.replace("// stride", ""), find("01").solution
    actions = [
        *[nothing] * 3,
        saver(folder, "01", wrong),
        *[nothing] * 5,
        saver(folder, "01", wrong),
        *[nothing] * 5,
        saver(folder, "01", right),
        *[nothing] * 5,
    ]
    watched = Watched(folder, actions)
    assert watched.checked == [("01", False), ("01", False), ("01", False), ("01", True), ("02", False)]
    assert watched.stopped
    assert find("02").task in "\n".join(watched.lines)
    assert f"write into {folder.file(find('02'))} and save" in watched.lines[-2]


def test_watch_looks_at_every_exercise_of_the_folder(folder: Folder) -> None:
    watched = Watched(folder, [nothing, saver(folder, "06", RIGHT), *[nothing] * 4])
    assert watched.checked == [("01", False), ("06", True)]
    assert f"the next exercise to pass is {folder.file(find('01'))}" in watched.lines[-1]


def test_watch_skips_what_is_right_already(folder: Folder) -> None:
    write(folder, find("01"), find("01").solution)
    folder.remember_passed(find("03"))
    write(folder, find("02"), find("02").solution)
    watched = Watched(folder, [nothing])
    assert watched.checked == [("01", True), ("02", True), ("04", False)]


def test_watch_waits_while_an_editor_writes(folder: Folder) -> None:
    file = folder.file(find("01"))
    solution = find("01").solution
    actions = [file.unlink, lambda: file.write_text(""), *[saver(folder, "01", solution[:n]) for n in (50, 99)]]
    watched = Watched(folder, [*actions, saver(folder, "01", solution), nothing, nothing])
    assert watched.checked == [("01", False), ("01", True), ("02", False)]


def test_watch_ends_when_all_is_passed(folder: Folder) -> None:
    for exercise in EXERCISES[1:]:
        folder.remember_passed(exercise)
    watched = Watched(folder, [saver(folder, "01", find("01").solution), *[nothing] * 9])
    assert not watched.stopped
    assert "All exercises are passed" in watched.lines[-1]
    assert watched.looks <= 3


def test_watch_from_the_command_line_and_ctrl_c(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(seconds: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(time, "sleep", stop)
    monkeypatch.setattr(watch, "__defaults__", (stop,))
    result = learn("watch")
    assert result.exit_code == 130
    assert result.stdout.startswith("\nhow large is the output?") or "01 · how large" in result.stdout
    assert "01 output_size: not written yet" in result.stdout


# --- pytest in the folder -----------------------------------------------------------------------------------


def test_plain_pytest_in_the_folder(folder: Folder) -> None:
    write(folder, find("03"), find("03").solution)

    def pytest_k(word: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "pytest", "my-fcn", "-k", word, "-p", "no:cacheprovider", "-p", "no:xdist"]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    done = pytest_k("03")
    assert done.returncode == 0, done.stdout
    assert "1 passed" in done.stdout
    assert folder.passed(find("03"))
    done = pytest_k("06")
    assert done.returncode == 1
    assert "06 relu: not written yet" in done.stdout
    assert "Traceback" not in done.stdout
    assert "learn/runner.py" not in done.stdout
