"""A run folder is found, read and written, and never found half written."""

import json
import threading
from pathlib import Path

import pytest

from medimg.config.check import as_dict, check
from medimg.config.compose import load
from medimg.errors import RequestError
from medimg.runs import RunFolder, find_run


def started(path: Path, when: str) -> RunFolder:
    folder = RunFolder(path)
    folder.update(started=when, status="completed")
    return folder


@pytest.fixture
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    started(tmp_path / "runs" / "a" / "first", "2024-05-01T10:00:00.000001+00:00")
    started(tmp_path / "runs" / "a" / "last", "2024-05-01T10:00:00.000002+00:00")
    started(tmp_path / "runs" / "study" / "deep" / "job", "2024-04-30T23:59:59.999999+00:00")
    return tmp_path / "runs"


def test_layout_is_that_of_the_contract() -> None:
    folder = RunFolder(Path("/runs/x"))
    found = {
        str(path.relative_to("/runs/x"))
        for path in (
            folder.config_file,
            folder.run_file,
            folder.results_file,
            folder.metrics_file,
            folder.error_file,
            folder.best,
            folder.last,
            folder.predictions("test"),
        )
    }
    contract = "config.yaml run.json results.json metrics.csv error.txt checkpoints/best.ckpt checkpoints/last.ckpt"
    assert found == {*contract.split(), "predictions/test.csv"}


def test_config_round_trip(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "run")
    given = [
        "model=resnet18",
        "scheduler=plateau",
        "callbacks=early_stopping",
        "data=covid",
        "data.root=/Größe (1)/a: b#c",
        "data.class_aliases={no:normal,0:covid}",
        "data.image_size=[32,48]",
        "optimizer.lr=1e-7",
        "name=2024_01",
        "trainer.max_time=01:00:00:00",
        "data.positive_class=covid",
        "loss.class_weights={covid:1.5,normal:0.1}",
    ]
    config = load(given)
    folder.write_config(as_dict(config))
    assert check(folder.read_config()) == config
    folder.write_config(folder.read_config())
    assert check(folder.read_config()) == config


def test_update_adds_and_replaces(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "run")
    assert folder.info() == {}
    folder.update(status="running", seed=0)
    folder.update(status="completed", seconds=float("nan"), classes=["a", "é"])
    assert folder.info() == {"status": "completed", "seed": 0, "seconds": None, "classes": ["a", "é"]}
    assert json.loads(folder.run_file.read_text(encoding="utf-8")) == folder.info()


def test_a_reader_never_sees_half_a_file(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    folder.update(number=0, filling="x" * 200_000)
    stop, broken = threading.Event(), []

    def read() -> None:
        while not stop.is_set():
            try:
                if len(folder.info()["filling"]) != 200_000:
                    broken.append("short")
            except (RequestError, KeyError) as error:
                broken.append(str(error))

    reader = threading.Thread(target=read)
    reader.start()
    for number in range(25):
        folder.update(number=number)
    stop.set()
    reader.join()
    assert not broken
    assert [path.name for path in tmp_path.iterdir()] == ["run.json"]


def test_helpers_of_distributed_training_write_nothing(tmp_path: Path) -> None:
    RunFolder(tmp_path).update(status="running")
    helper = RunFolder(tmp_path, writable=False)
    helper.update(status="failed")
    helper.write_config({"a": 1})
    helper.forget_results()
    assert RunFolder(tmp_path).info() == {"status": "running"}
    assert [path.name for path in tmp_path.iterdir()] == ["run.json"]


@pytest.mark.parametrize(
    "name", ["config.yaml", "checkpoints/other.pth", "metrics.csv", "predictions/mine.csv", "figures/a.png"]
)
def test_a_new_run_writes_over_nothing(tmp_path: Path, name: str) -> None:
    file = tmp_path / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("{}", encoding="utf-8")
    with pytest.raises(RequestError, match=name.partition("/")[0]):
        RunFolder(tmp_path).claim()
    assert file.read_text(encoding="utf-8") == "{}"
    (tmp_path / "config.yaml").write_text("{}", encoding="utf-8")
    (tmp_path / "run.json").write_text("{}", encoding="utf-8")
    with pytest.raises(RequestError, match="holds a run already"):
        RunFolder(tmp_path).claim()


def test_an_empty_folder_or_one_with_a_log_can_be_claimed(tmp_path: Path) -> None:
    (tmp_path / "train.log").write_text("", encoding="utf-8")
    (tmp_path / ".hydra").mkdir()
    RunFolder(tmp_path).claim()


def test_a_run_that_goes_on_forgets_its_results_and_keeps_its_checkpoints(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    stale = [folder.results_file, folder.error_file, folder.predictions("val"), folder.report_file]
    stale.append(tmp_path / "figures" / "errors" / "01.png")
    kept = [folder.last, folder.run_file, folder.metrics_file, tmp_path / "tensorboard" / "events"]
    kept.append(tmp_path / "model_card.md")  # an author may have worked on it
    for file in (*stale, *kept):
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("{}", encoding="utf-8")
    folder.forget_results()
    assert not any(file.exists() for file in stale)
    assert all(file.exists() for file in kept)


def test_latest_is_the_run_that_started_last(runs: Path) -> None:
    assert find_run("latest", runs).path == runs / "a" / "last"
    job = started(runs / "study" / "deep" / "newer", "2024-05-01T10:00:01.000000+00:00")
    assert find_run("latest", runs).path == job.path


def test_latest_looks_below_the_folder_that_it_is_given(runs: Path) -> None:
    assert find_run("latest", runs / "study").path == runs / "study" / "deep" / "job"
    assert find_run("latest", Path("runs/study")).path.is_absolute()


def test_a_run_by_its_path(runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert find_run("runs/a/first", runs).path == runs / "a" / "first"
    assert find_run(f"{runs}/a/first/", Path("nowhere")).path == runs / "a" / "first"
    monkeypatch.setenv("HOME", str(tmp_path))
    assert find_run("~/runs/a/first", runs).path == runs / "a" / "first"


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        ("runs/a", "a folder with runs, not a run"),
        ("runs/nothing", "there is no such folder"),
        ("lastest", "there is no such folder"),
        ("runs/a/first/run.json", "not a run folder"),
        ("empty", "not a run folder"),
    ],
)
def test_what_is_no_run_is_told_which_runs_there_are(runs: Path, wrong: str, why: str) -> None:
    (runs.parent / "empty").mkdir()
    with pytest.raises(RequestError, match=f"run={wrong}: .*{why}") as caught:
        find_run(wrong, Path("runs"))
    assert "    runs/a/first\n" in str(caught.value)
    assert ("runs/study/deep/job" in str(caught.value)) == (wrong != "runs/a")


def test_of_many_runs_a_few_are_named(runs: Path) -> None:
    for number in range(7):
        started(runs / "many" / f"seed-{number}", "2024-05-01T10:00:00+00:00")
    with pytest.raises(RequestError) as caught:
        find_run("runs/many", Path("runs"))
    named = [line.strip() for line in str(caught.value).splitlines()[1:]]
    assert named == [*(f"runs/many/seed-{number}" for number in range(2, 7)), "and 2 others"]


def test_an_ensemble_is_no_run(runs: Path) -> None:
    (runs / "both").mkdir()
    (runs / "both" / "ensemble.json").write_text("{}")
    with pytest.raises(RequestError, match=r"an ensemble, not a run(?s:.*)medimg predict run=runs/both"):
        find_run("runs/both", Path("runs"))


def test_no_runs_at_all(tmp_path: Path) -> None:
    for run in ("latest", "x"):
        with pytest.raises(RequestError, match="there is no run below") as caught:
            find_run(run, tmp_path / "runs")
        assert str(tmp_path / "runs") in str(caught.value)


def test_a_damaged_run_file_is_named(runs: Path) -> None:
    (runs / "a" / "first" / "run.json").write_text('{"status": "runn', encoding="utf-8")
    with pytest.raises(RequestError, match=r"first/run\.json cannot be read"):
        find_run("runs/a/first", runs).info()


def test_path_is_shown_as_it_would_be_typed(runs: Path, tmp_path: Path) -> None:
    assert find_run("latest", runs).shown == "runs/a/last"
    assert RunFolder(Path("/elsewhere/run")).shown == "/elsewhere/run"
