"""The table at the end of a sweep: best first, unfinished last, and no score that was not earned."""

from pathlib import Path

from medimg.files import write_json
from medimg.runs import RunFolder
from medimg.runs.summary import summary


def run(
    path: Path, val: float | None, *, test: float | None = None, status: str = "completed", synthetic: bool = False
) -> RunFolder:
    folder = RunFolder(path)
    folder.update(status=status, seconds=12.345)
    results = {"best_epoch": 3, "synthetic": synthetic, "val": {"f1_macro": val, "accuracy": 0.5}}
    write_json(folder.results_file, results | ({"test": {"f1_macro": test}} if test is not None else {}))
    return folder


def names(table: str) -> list[str]:
    return [line.split()[0] for line in table.splitlines()[2:]]


def test_best_on_validation_first_and_unfinished_last(tmp_path: Path) -> None:
    folders = [
        run(tmp_path / "low", 0.1, test=0.99),
        run(tmp_path / "none", None),
        run(tmp_path / "failed", 0.95, status="failed"),
        run(tmp_path / "high", 0.9, test=0.2),
        RunFolder(tmp_path / "absent"),
        run(tmp_path / "zero", 0.0),
        run(tmp_path / "perfect", 1.0),
    ]
    table = summary(folders)
    assert names(table)[:4] == ["perfect", "high", "low", "zero"]
    assert set(names(table)[4:]) == {"none", "failed", "absent"}


def test_what_an_unfinished_run_left_behind_is_no_result(tmp_path: Path) -> None:
    line = summary([run(tmp_path / "a", 0.95, status="failed")]).splitlines()[2]
    assert "0.95" not in line
    assert "failed" in line
    assert "not started" in summary([RunFolder(tmp_path / "b")])


def test_ties_are_in_order_of_their_names(tmp_path: Path) -> None:
    folders = [run(tmp_path / name, 0.5) for name in ("c", "a", "b")]
    assert names(summary(folders)) == ["a", "b", "c"]


def test_numbers_and_columns(tmp_path: Path) -> None:
    lines = summary([run(tmp_path / "a", 0.123456, test=0.5, synthetic=True), run(tmp_path / "b", 0.1)]).splitlines()
    assert [column.strip() for column in lines[0].split("  ") if column.strip()] == [
        "run",
        "status",
        "best epoch",
        "val macro-F1",
        "val accuracy",
        "test macro-F1",
        "seconds",
    ]
    first = {name: lines[2][lines[0].index(name) :].split()[0] for name in ("val macro-F1", "test macro-F1", "seconds")}
    assert first == {"val macro-F1": "0.1235", "test macro-F1": "0.5000", "seconds": "12.3"}
    assert "(synthetic)" in lines[2]
    assert "synthetic" not in lines[3]
    assert lines[3][lines[0].index("test macro-F1") :].split() == ["12.3"], "no test score where test was not looked at"


def test_nothing_to_show() -> None:
    assert len(summary([]).splitlines()) == 2
