"""The leaderboard as text, CSV and Markdown: the numbers are those of the run folders."""

import csv
import json
import re
import statistics
from pathlib import Path

import pytest
from handmade_runs import write_run

from medimg.config.training import TrainConfig
from medimg.reporting.leaderboard import write_leaderboard
from medimg.runs import RunFolder
from medimg.runs.records import find_runs


def rows(home: Path) -> list[dict[str, str]]:
    with (home / "leaderboard.csv").open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def cells(line: str) -> list[str]:
    return re.split(r"\s{2,}", line.strip())


def markdown_rows(text: str) -> list[list[str]]:
    """The cells of each line of a table, as GitHub splits them."""
    lines = [line[2:-2] for line in text.splitlines() if line.startswith("| ")]
    return [[cell.replace("\\|", "|") for cell in re.split(r"(?<!\\) \| ", line)] for line in lines]


@pytest.fixture
def study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path / "study"


def test_numbers_of_a_study(study: Path) -> None:
    scores = [0.8123456789, 0.7, 0.75]
    for seed, value in enumerate(scores):
        given = {"value": value, "epochs": [(value, 0.1 * (seed + 1))], "seconds": 30.0 * (seed + 1)}
        write_run(study / f"adam{seed}", f"seed={seed}", test={"f1_macro": value - 0.1}, **given)
    write_run(
        study / "sgd", "optimizer=sgd", value=0.9, parameters={"total": 25_600_000, "trained": 10}, seconds=9000.0
    )
    write_run(study / "failed", "optimizer=rmsprop", value=0.95, status="failed")
    said = write_leaderboard(find_runs([study]), study)

    sgd, adam, failed = rows(study)
    assert [row["rank"] for row in (sgd, adam, failed)] == ["1", "2", ""]
    assert [row["optimizer"] for row in (sgd, adam, failed)] == ["SGD", "Adam", "RMSprop"]
    assert (sgd["runs"], sgd["mean"], sgd["std"], sgd["test_mean"]) == ("1", "0.9", "", "")
    assert adam["runs"] == "3"
    assert float(adam["mean"]) == pytest.approx(statistics.fmean(scores), abs=1e-15)
    assert float(adam["std"]) == pytest.approx(statistics.stdev(scores), abs=1e-15)
    assert float(adam["test_mean"]) == pytest.approx(statistics.fmean(scores) - 0.1)
    assert float(adam["test_std"]) == pytest.approx(statistics.stdev(scores))
    assert (float(adam["val_loss"]), adam["seconds"]) == (pytest.approx(0.2), "60.0")
    assert (adam["metric"], adam["test_metric"], adam["split_unit"]) == ("val/f1_macro", "f1_macro", "patient")
    assert adam["data_fingerprint"] == "d" * 12
    assert sorted(adam["folders"].split(";")) == ["adam0", "adam1", "adam2"]
    assert (failed["status"], failed["mean"], failed["best_so_far"]) == ("failed", "", "0.95")

    lines = said.splitlines()
    header = next(line for line in lines if line.startswith("rank"))
    assert cells(header) == ["rank", "optimizer", "lr", "val/f1_macro", "test/f1_macro", "time", "parameters", "status"]
    first = cells(lines[lines.index(header) + 2])
    assert first == ["1", "SGD", "0.01", "0.9000 (1)", "2.5 h", "25.6 M", "completed"]  # no test score
    mean, std = statistics.fmean(scores), statistics.stdev(scores)
    assert f"{mean:.4f} ± {std:.4f} (3)" in lines[lines.index(header) + 3]
    assert f"{mean - 0.1:.4f} ± {std:.4f} (3)" in lines[lines.index(header) + 3]
    assert "Best run of rank 1: study/sgd (0.9000)" in said
    assert not any("0.95" in line for line in lines[: lines.index("Not ranked")])
    assert "failed" in lines[lines.index("Not ranked") + 4]
    assert "study/failed" in lines[lines.index("Not ranked") + 4]

    page = (study / "leaderboard.md").read_text(encoding="utf-8")
    assert markdown_rows(page)[3][3] == f"{mean:.4f} ± {std:.4f} (3)"
    assert "(leaderboard.png)" in page
    assert (study / "leaderboard.png").read_bytes().startswith(b"\x89PNG")


def test_it_agrees_with_a_run_that_was_trained(tiny_run: tuple[RunFolder, TrainConfig], tmp_path: Path) -> None:
    folder, _ = tiny_run
    said = write_leaderboard([folder.path], tmp_path)
    results = json.loads(folder.results_file.read_text())
    (row,) = rows(tmp_path)
    assert (float(row["mean"]), float(row["test_mean"])) == (results["val"]["f1_macro"], results["test"]["f1_macro"])
    assert (row["synthetic"], row["folders"]) == ("true", str(folder.path.resolve()))
    assert "covid_phantom (synthetic images), split by patient" in said
    assert "say nothing about real ones" in said


def test_tables_that_are_not_ranked_together_say_so(study: Path) -> None:
    write_run(study / "a", value=0.5)
    write_run(study / "b", "optimizer=sgd", value=0.6)
    write_run(
        study / "c",
        "data.root=/other",
        value=0.9,
        split_unit="image",
        images_fingerprint="j" * 64,
        data_fingerprint="e",
    )
    said = write_leaderboard(find_runs([study]), study)
    assert said.startswith("Not ranked together, as these runs differ in the images, split unit (patient, image):")
    assert [(row["section"], row["rank"], row["folders"]) for row in rows(study)] == [
        ("1", "1", "b"),
        ("1", "2", "a"),
        ("2", "1", "c"),
    ]
    assert [row["data.root"] for row in rows(study)] == ["/images", "/images", "/other"]
    first, second = said.split("\n2. ")
    assert "root /images" in first
    assert "root /other" in second
    assert "scores may be too good" in second
    assert "scores may be too good" not in first
    assert said.count("Not ranked together") == (study / "leaderboard.md").read_text().count("Not ranked together") == 1


def test_a_split_by_groups_says_what_it_cannot_promise(study: Path) -> None:
    write_run(study / "a", value=0.5, split_unit="group")
    said = " ".join(write_leaderboard(find_runs([study]), study).split())
    assert "split by group" in said
    assert "stand in for patients" in said
    assert "a lower bound on leakage, not proof of none" in said


def test_settings_on_other_folds_are_ranked_with_a_warning(study: Path) -> None:
    for fold in range(3):
        given = ["data.folds=3", f"data.fold={fold}"]
        write_run(study / f"a{fold}", *given, value=0.5, data_fingerprint=str(fold))
        if fold < 2:
            write_run(study / f"b{fold}", *given, "optimizer=sgd", value=0.6, data_fingerprint=str(fold))
    assert "not run on the same folds" in write_leaderboard(find_runs([study]), study)
    write_run(study / "b2", "data.folds=3", "data.fold=2", "optimizer=sgd", value=0.6, data_fingerprint="2")
    assert "not run on the same folds" not in write_leaderboard(find_runs([study]), study)


def test_ties_show_what_decides_them(study: Path) -> None:
    for lr, loss in ((0.1, 0.5), (0.2, 0.25)):
        write_run(study / str(lr), f"optimizer.lr={lr}", value=0.5, epochs=[(0.5, loss)])
    said = write_leaderboard(find_runs([study]), study)
    body = markdown_rows((study / "leaderboard.md").read_text())
    assert [line[1:4] for line in body if line[0] != "---"] == [
        ["lr", "val/f1_macro", "val/loss"],
        ["0.2", "0.5000", "0.25"],
        ["0.1", "0.5000", "0.5"],
    ]
    assert "Equal scores are ranked by validation loss" in said
    assert "Equal scores are ranked by validation loss" in (study / "report.html").read_text()


def test_a_control_says_so_everywhere(study: Path) -> None:
    for seed in (0, 1):
        write_run(study / f"a{seed}", "data.region=border", f"seed={seed}", value=0.5)
    said = write_leaderboard(find_runs([study]), study)
    assert rows(study)[0]["data.region"] == "border"
    assert "covid, data.region=border, split by patient" in said
    assert "Setting: region border" in said
    for text in (said, (study / "leaderboard.md").read_text(), (study / "report.html").read_text()):
        assert "A control, data.region=border" in text


def test_repetitions_show_their_scores_and_what_counts(study: Path) -> None:
    for day, value in ((1, 0.25), (2, 0.5), (3, 0.75)):
        write_run(study / f"day{day}", value=value, epochs=[(value, 0.5)], started=f"2024-01-0{day}")
    said = write_leaderboard(find_runs([study]), study)
    assert (
        "repeated: study/day3 counts for 2 older with its settings and seed: they scored 0.2500, 0.5000, it 0.7500."
        in said
    )
    page = (study / "report.html").read_text()
    assert page.count("same settings, seed and fold as day3") == 2
    assert [row["best_so_far"] for row in rows(study)] == ["", "0.25", "0.5"]


def test_any_value_comes_through_whole(study: Path) -> None:
    values = ["/a|b, c;d \\ \"e\"'f'", "/x" * 60 + "/one", "/x" * 60 + "/two", "ü\n*new* line"]
    for number, value in enumerate(values):
        write_run(study / str(number), "model=resnet18", value=0.1 * number, config={"model.weights": value})
    said = write_leaderboard(find_runs([study]), study)
    assert [row["model.weights"] for row in rows(study)] == values[::-1]
    body = markdown_rows((study / "leaderboard.md").read_text(encoding="utf-8"))
    assert {len(line) for line in body} == {len(body[0])}
    assert body[5][1].replace("\\\\", "\\") == values[0]
    shown = [cells(line)[1] for line in said.splitlines() if re.match(r"[1-4] ", line)]
    assert len(set(shown)) == 4
    assert all(len(cell) <= 40 for cell in shown)
    assert all(cell.endswith(end) for cell, end in zip(shown[1:3], ("/two", "/one"), strict=True))


def test_an_unreadable_run_is_named_among_the_others(study: Path) -> None:
    write_run(study / "a", value=0.5)
    (study / "b").mkdir()
    (study / "b" / "run.json").write_text("{")
    said = write_leaderboard(find_runs([study]), study)
    assert "study/b is unreadable: " in said
    assert [row["status"] for row in rows(study)] == ["completed", "unreadable"]


def test_without_a_result_there_is_no_picture_and_no_old_one(study: Path) -> None:
    write_run(study / "a", status="failed")
    (study / "leaderboard.png").write_bytes(b"old")
    said = write_leaderboard(find_runs([study]), study)
    assert "Not ranked" in said
    assert not (study / "leaderboard.png").exists()
    assert "leaderboard.png" not in (study / "leaderboard.md").read_text()
    assert write_leaderboard([], study) == "No run has a result."
