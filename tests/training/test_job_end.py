"""How a job ended, read from its exit code and its folder."""

import signal
from pathlib import Path

import pytest

from medimg.runs import RunFolder
from medimg.training.job_end import first_line_of_error, has_failed, lines_of_failures, settle

CHAINED = """Traceback (most recent call last):
  File "a.py", line 1, in one
    f()
ValueError: the first

During handling of the above exception, another exception occurred:

Traceback (most recent call last):
  File "b.py", line 2, in two
    g()
    ^^^
medimg.errors.MedimgError: the val loss is not finite
  likely cures: a smaller optimizer.lr
"""


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (CHAINED, "the val loss is not finite"),
        ("Traceback (most recent call last):\n  File \"a.py\", line 1\n    f()\nKeyError: 'x'\n", "KeyError: 'x'"),
        (
            'Traceback (most recent call last):\n  File "a", line 1, in f\n    g()\nRuntimeError: one\ntwo\n',
            "RuntimeError: one",
        ),
        ("the process of the job was ended by SIGSEGV\n", "the process of the job was ended by SIGSEGV"),
        ("", ""),
    ],
)
def test_an_error_in_one_line(text: str, expected: str, tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    folder.error_file.write_text(text)
    assert first_line_of_error(folder) == expected


@pytest.mark.parametrize(
    ("before", "code", "asked", "after", "error"),
    [
        ("running", -signal.SIGKILL, [], "failed", "ended by SIGKILL; out of memory?"),
        ("running", -signal.SIGSEGV, [], "failed", "ended by SIGSEGV"),
        ("running", 3, [], "failed", "exit code 3"),
        ("running", -signal.SIGTERM, [signal.SIGTERM], "interrupted", ""),
        ("running", 128 + signal.SIGINT, [signal.SIGINT], "interrupted", ""),
        ("interrupted", 128 + signal.SIGTERM, [], "interrupted", ""),
        ("failed", 1, [], "failed", ""),
    ],
)
def test_what_a_process_could_not_write(
    before: str, code: int, asked: list[int], after: str, error: str, tmp_path: Path
) -> None:
    folder = RunFolder(tmp_path)
    folder.update(status=before)
    assert settle(folder, code, asked) is None
    assert folder.info()["status"] == after
    assert folder.error_file.is_file() == bool(error)
    if error:
        assert error in folder.error_file.read_text()
    assert has_failed(folder) == (after == "failed")


def test_a_finished_run_keeps_its_status(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    folder.update(status="completed")
    settle(folder, -signal.SIGKILL, [])
    assert folder.info()["status"] == "completed"
    assert has_failed(folder)


def test_every_job_without_a_result_is_named_with_the_reason(tmp_path: Path) -> None:
    folders = [RunFolder(tmp_path / name) for name in ("a", "b", "c", "d")]
    for folder, status in zip(folders, ("completed", "interrupted", "running"), strict=False):
        folder.update(status=status)
    said = lines_of_failures(folders)
    assert [line.rpartition(": ")[2] for line in said] == ["interrupted", "its process ended on the way", "not started"]
    folders[0].error_file.write_text("settings differ\n")
    assert lines_of_failures(folders[:1])[0].endswith("error.txt: settings differ")
