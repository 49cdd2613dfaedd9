"""The ranking: what is compared with what, in which order, and with which mean and spread."""

import statistics
from pathlib import Path

import numpy as np
import pytest
from handmade_runs import write_run

from medimg.runs import RunFolder
from medimg.runs.leaderboard import Board, Spread, leaderboard
from medimg.runs.records import find_runs

LOSS = ["monitor.metric=val/loss", "monitor.mode=min"]


def board(home: Path) -> Board:
    return leaderboard(find_runs([home]))


def names(board: Board) -> list[list[list[str]]]:
    """The runs of each setting of each section."""
    return [[sorted(run.folder.path.name for run in entry.runs) for entry in part.entries] for part in board.sections]


def unranked(board: Board) -> dict[str, str]:
    return {run.folder.path.name: run.status for run in board.unranked}


def test_runs_that_differ_only_in_their_seed_are_one_setting(tmp_path: Path) -> None:
    values = {"small_cnn": [0.71, 0.803, 0.777], "quickstart_cnn": [0.9, 0.5]}
    for model, scores in values.items():
        for seed, value in enumerate(scores):
            test = {"f1_macro": value / 3}
            write_run(tmp_path / f"{model}{seed}", f"model={model}", f"seed={seed}", value=value, test=test)
    found = board(tmp_path)
    assert names(found) == [[["small_cnn0", "small_cnn1", "small_cnn2"], ["quickstart_cnn0", "quickstart_cnn1"]]]
    for entry, scores in zip(found.sections[0].entries, values.values(), strict=True):
        assert entry.score.mean == pytest.approx(np.mean(scores))
        assert entry.score.std == pytest.approx(np.std(scores, ddof=1))
        assert entry.score.count == len(scores)
        assert entry.test is not None
        assert entry.test.std == pytest.approx(np.std(np.array(scores) / 3, ddof=1))
        assert entry.runs[0].value == max(scores)


def test_folds_of_one_division_are_one_setting_though_their_splits_differ(tmp_path: Path) -> None:
    scores = [0.6, 0.7, 0.65]
    for fold, value in enumerate(scores):
        given = ["data.folds=3", f"data.fold={fold}"]
        write_run(tmp_path / f"three{fold}", *given, value=value, data_fingerprint=str(fold) * 64)
        other = [*given, "data.split_seed=1"]
        write_run(tmp_path / f"other{fold}", *other, value=value, data_fingerprint=str(fold + 5) * 64)
    write_run(tmp_path / "without", value=0.99)
    found = board(tmp_path)
    folds = [[f"{name}{fold}" for fold in range(3)] for name in ("other", "three")]
    assert sorted(names(found)) == sorted([[folds[0]], [folds[1]], [["without"]]])
    score = found.sections[0].entries[0].score
    assert (score.mean, score.std) == pytest.approx((statistics.fmean(scores), statistics.stdev(scores)))
    assert found.apart() == ["how the same images are split"]


def test_one_run_has_no_spread(tmp_path: Path) -> None:
    write_run(tmp_path / "a", value=0.5)
    assert board(tmp_path).sections[0].entries[0].score == Spread(0.5, None, 1)


@pytest.mark.parametrize(
    ("overrides", "facts", "reason"),
    [
        ([], {"data_fingerprint": "e" * 64, "images_fingerprint": "j" * 64}, "the images"),
        ([], {"data_fingerprint": "e" * 64}, "how the same images are split"),
        ([], {"split_unit": "image"}, "split unit (patient, image)"),
        (["monitor.metric=val/auroc"], {}, "monitored metric (val/f1_macro, val/auroc)"),
        (LOSS, {}, "monitored metric (val/f1_macro, val/loss)"),
    ],
)
def test_what_was_not_measured_alike_is_not_ranked_together(
    tmp_path: Path, overrides: list[str], facts: dict[str, str], reason: str
) -> None:
    write_run(tmp_path / "a", value=0.5)
    write_run(tmp_path / "b", "seed=1", value=0.6)
    write_run(tmp_path / "other", *overrides, "seed=2", value=0.9, epochs=[(0.9, 0.9)], **facts)
    found = board(tmp_path)
    assert names(found) == [[["a", "b"]], [["other"]]]
    assert found.apart() == [reason]


def test_of_older_runs_it_is_not_known_whether_the_images_differ_or_their_split(tmp_path: Path) -> None:
    write_run(tmp_path / "old", value=0.5, images_fingerprint=None)
    write_run(tmp_path / "other", value=0.5, data_fingerprint="e" * 64)
    assert board(tmp_path).apart() == ["the images or how they are split"]
    write_run(tmp_path / "new", "seed=1", value=0.5)  # of the same images and split as the old one
    assert names(board(tmp_path)) == [[["new", "old"]], [["other"]]]
    assert board(tmp_path).apart() == ["how the same images are split"]


def test_runs_of_several_studies_are_ranked_together(tmp_path: Path) -> None:
    write_run(tmp_path / "one" / "a", "name=one", value=0.5)
    write_run(tmp_path / "two" / "b", "name=two", "seed=1", value=0.7)
    write_run(tmp_path / "two" / "c", "name=two", "optimizer=sgd", value=0.65)
    found = board(tmp_path)
    assert names(found) == [[["c"], ["a", "b"]]]
    assert found.apart() == []


def test_less_loss_is_better(tmp_path: Path) -> None:
    for lr, loss in ((0.1, 0.7), (0.2, 0.2), (0.3, 0.5)):
        write_run(tmp_path / f"{loss}", *LOSS, f"optimizer.lr={lr}", epochs=[(None, 0.1), (None, loss)])
    assert names(board(tmp_path)) == [[["0.2"], ["0.5"], ["0.7"]]]


def test_ties_go_to_the_lower_loss_and_then_to_the_name(tmp_path: Path) -> None:
    for name, loss, lr in (("d", 0.3, 1), ("a", 0.3, 2), ("z", 0.1, 3), ("b", 0.9, 4)):
        write_run(tmp_path / name, f"optimizer.lr={lr}", value=0.5, epochs=[(0.5, loss)])
    assert names(board(tmp_path)) == [[["z"], ["a"], ["d"], ["b"]]]


def test_means_that_differ_in_their_last_bit_tie(tmp_path: Path) -> None:
    values = (0.70, 0.72, 0.74)
    assert statistics.fmean(values) > 0.72
    for seed, value in enumerate(values):
        write_run(tmp_path / f"three{seed}", f"seed={seed}", value=value, epochs=[(0.7, 0.9)])
    write_run(tmp_path / "less loss", "optimizer=sgd", value=0.72, epochs=[(0.7, 0.1)])
    assert names(board(tmp_path))[0][0] == ["less loss"]


def test_zero_is_a_score_and_nan_is_none(tmp_path: Path) -> None:
    write_run(tmp_path / "zero", "optimizer.lr=1", value=0.0)
    write_run(tmp_path / "low", "optimizer.lr=2", value=-0.5)
    write_run(tmp_path / "nan", "optimizer.lr=3", value=float("nan"))
    write_run(tmp_path / "null", "optimizer.lr=4", value=None, epochs=[(None, 0.5)])
    found = board(tmp_path)
    assert names(found) == [[["zero"], ["low"]]]
    assert unranked(found) == {"nan": "no score", "null": "no score"}


def test_what_did_not_end_whole_is_listed_with_its_status(tmp_path: Path) -> None:
    write_run(tmp_path / "good", value=0.5)
    write_run(tmp_path / "pruned", "optimizer.lr=5", value=0.6, pruned=True)
    for number, status in enumerate(("failed", "interrupted", "running")):
        write_run(tmp_path / status, f"seed={number + 1}", value=0.9, status=status)
    write_run(tmp_path / "early", "seed=9", status="failed", data_fingerprint=None)
    write_run(tmp_path / "partial", "seed=4", value=0.99, partial={"val": [3, 10]})
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "run.json").write_text("{")
    found = leaderboard([*find_runs([tmp_path]), RunFolder(tmp_path / "absent")])
    assert names(found) == [[["pruned"], ["good"]]]
    assert [entry.status for entry in found.sections[0].entries] == [
        "pruned",
        "1 completed, 2 failed, 1 interrupted, 1 partial, 1 running",
    ]
    assert unranked(found) == {
        "failed": "failed",
        "early": "failed",
        "interrupted": "interrupted",
        "running": "running",
        "partial": "partial",
        "broken": "unreadable",
        "absent": "not started",
    }
    assert {run.folder.path.name: run.so_far for run in found.unranked}["failed"] == 0.9


def test_a_repetition_is_no_spread(tmp_path: Path) -> None:
    write_run(tmp_path / "older", value=0.5, started="2024-01-01")
    write_run(tmp_path / "newer", value=0.6, started="2024-01-02")
    write_run(tmp_path / "seed", "seed=1", value=0.8, started="2023-01-01")
    found = board(tmp_path)
    assert names(found) == [[["newer", "seed"]]]
    assert found.sections[0].entries[0].status == "completed"
    assert unranked(found) == {"older": "repeated"}


def test_test_scores_are_there_only_where_every_run_has_them(tmp_path: Path) -> None:
    given = {
        "all": [{"f1_macro": 0.5}, {"f1_macro": 0.7}],
        "some": [{"f1_macro": 0.5}, None],
        "undefined": [{"f1_macro": 0.5}, {"f1_macro": None}],
        "partial": [{"f1_macro": 0.5}, {"f1_macro": 0.7}],
        "none": [None, None],
    }
    for number, (name, tests) in enumerate(given.items()):
        for seed, test in enumerate(tests):
            partial = {"test": [1, 2]} if name == "partial" and seed else None
            overrides = [f"seed={seed}", f"optimizer.lr={number + 1}"]
            write_run(tmp_path / f"{name}{seed}", *overrides, value=0.5, test=test, partial=partial)
    entries = board(tmp_path).sections[0].entries
    shown = {entry.runs[0].folder.path.name[:-1]: entry.test for entry in entries}
    assert {name for name, test in shown.items() if test} == {"all"}
    assert shown["all"] is not None
    assert (shown["all"].mean, shown["all"].count) == (pytest.approx(0.6), 2)


def test_where_loss_is_monitored_test_is_shown_by_macro_f1(tmp_path: Path) -> None:
    write_run(tmp_path / "a", *LOSS, epochs=[(None, 0.5)], test={"f1_macro": 0.25, "accuracy": 0.5})
    (entry,) = board(tmp_path).sections[0].entries
    assert entry.test_metric == "f1_macro"
    assert entry.test is not None
    assert entry.test.mean == 0.25


def test_no_runs_at_all() -> None:
    assert leaderboard([]) == Board((), (), ())
