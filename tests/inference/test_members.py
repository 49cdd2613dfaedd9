"""Which runs an ensemble is made of, by hand or from a sweep, and which are refused."""

from pathlib import Path

import pytest
from handmade_runs import write_run

from medimg.errors import RequestError
from medimg.inference.members import best_of_sweep, members_of, named_runs
from medimg.runs import RunFolder


def written(path: Path, *overrides: str, **facts: object) -> RunFolder:
    """A run with an empty checkpoint and two images."""
    folder = write_run(path, *overrides, **{"value": 0.5, "classes": ["x", "y"], "positive_class": "y"} | facts)  # type: ignore[arg-type]
    folder.checkpoints.mkdir()
    folder.best.write_bytes(b"")
    folder.manifest_file.write_text("path,label,split\n1.png,x,train\n2.png,y,test\n", encoding="utf-8")
    return folder


def test_the_order_of_the_runs_does_not_matter(tmp_path: Path) -> None:
    runs = [written(tmp_path / "b"), written(tmp_path / "a", "seed=1", value=0.75)]
    found = members_of(runs)
    assert [member.folder.path.name for member in found] == ["a", "b"]
    assert found == members_of(runs[::-1])
    assert [member.value for member in found] == [0.75, 0.5]
    assert found[0].manifest.classes == ("x", "y")
    assert found[0].paths("test") == {"2.png"}


@pytest.mark.parametrize(
    ("facts", "named"),
    [
        ({"status": "running"}, "b is running"),
        ({"status": "failed"}, "b is failed"),
        ({"classes": ["x", "z"]}, r"a and .*b have no mean: their classes are \['x', 'y'\] and \['x', 'z'\]"),
        ({"classes": ["y", "x"]}, "their classes are"),
        ({"positive_class": "x"}, "their positive classes are y and x"),
    ],
)
def test_what_has_no_mean_is_refused(tmp_path: Path, facts: dict[str, object], named: str) -> None:
    runs = [written(tmp_path / "a"), written(tmp_path / "b", **facts)]
    with pytest.raises(RequestError, match=named):
        members_of(runs)


def test_a_member_counts_once_and_there_are_two(tmp_path: Path) -> None:
    run = written(tmp_path / "a")
    (tmp_path / "link").symlink_to(run.path)
    with pytest.raises(RequestError, match="stands there twice"):
        members_of([run, RunFolder(tmp_path / "link")])
    with pytest.raises(RequestError, match="at least two members; here are 1"):
        members_of([run])


def test_a_run_without_its_best_epoch_is_none(tmp_path: Path) -> None:
    runs = [written(tmp_path / "a"), written(tmp_path / "b")]
    runs[1].best.unlink()
    with pytest.raises(RequestError, match=r"b has no checkpoints/best\.ckpt"):
        members_of(runs)


def test_an_interrupted_run_is_taken_with_a_word(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    interrupted = written(tmp_path / "b", status="interrupted", epochs=[(0.25, 0.9), (0.75, 0.8), (0.5, 0.7)])
    found = members_of([written(tmp_path / "a"), interrupted])
    assert found[1].value == 0.75
    assert "b was interrupted" in caplog.text


def test_the_best_of_a_sweep_ties_by_loss(tmp_path: Path) -> None:
    for seed, (value, loss) in enumerate([(0.6, 0.5), (0.9, 0.7), (0.8, 0.4), (0.8, 0.3), (0.2, 0.1)]):
        written(tmp_path / f"run{seed}", f"seed={seed}", epochs=[(value, loss)], value=value)
    written(tmp_path / "elsewhere", value=1.0, images_fingerprint="j", data_fingerprint="j")
    written(tmp_path / "failed", status="failed", value=1.0)
    folders, found = best_of_sweep(tmp_path, 3)
    assert [folder.path.name for folder in folders] == ["run1", "run3", "run2"]
    assert "best 3 of 5 runs" in found
    assert "val/f1_macro; left out: 1 of other images" in found
    assert len(best_of_sweep(tmp_path)[0]) == 5
    with pytest.raises(RequestError, match=r"top=6: .* has 5 ranked runs\n  top=5 takes all"):
        best_of_sweep(tmp_path, 6)


def test_lower_is_better_where_the_sweep_says_so(tmp_path: Path) -> None:
    monitor = ["monitor.metric=val/loss", "monitor.mode=min"]
    for seed, loss in enumerate([0.6, 0.2, 0.4]):
        written(tmp_path / f"run{seed}", *monitor, f"seed={seed}", epochs=[(None, loss)])
    assert [folder.path.name for folder in best_of_sweep(tmp_path, 2)[0]] == ["run1", "run2"]


def test_of_folds_the_best_of_each(tmp_path: Path) -> None:
    """A fold with easy validation images would fill the whole ensemble otherwise."""
    for number in range(2):
        for seed, value in enumerate([0.1, 0.3, 0.2]):
            written(
                tmp_path / f"fold{number}seed{seed}",
                *("data.folds=2", f"data.fold={number}", f"seed={seed}"),
                value=value + number / 2,
                data_fingerprint=str(number),
            )
    folders, found = best_of_sweep(tmp_path, 1)
    assert sorted(folder.path.name for folder in folders) == ["fold0seed1", "fold1seed1"]
    assert "best 1 of each fold of 6" in found


def test_folders_without_runs_are_named(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="no such folder"):
        best_of_sweep(tmp_path / "none")
    with pytest.raises(RequestError, match="no run below it is finished"):
        best_of_sweep(tmp_path)
    with pytest.raises(RequestError, match="not a run folder"):
        named_runs([str(tmp_path)], tmp_path)
