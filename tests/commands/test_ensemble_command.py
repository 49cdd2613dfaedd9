"""What `medimg ensemble` understands, prints and refuses, and which commands use its folder."""

import csv
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from ensemble_runs import Trained

from medimg.cli import main
from medimg.runs.records import read_run

FEW = "evaluation.resamples=100"


@pytest.fixture
def home(trained: Trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with the trained runs in it; ensembles go to a folder of each test's own."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "trained").symlink_to(trained.runs)
    return tmp_path


def rows(file: Path) -> list[dict[str, str]]:
    with file.open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def only_ensemble(home: Path) -> Path:
    (found,) = (home / "runs" / "ensembles").iterdir()
    return found


def test_the_best_of_a_sweep(home: Path, trained: Trained, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["ensemble", "sweep=trained/seeds", "top=2", "name=pair", FEW]) == 0
    said = capsys.readouterr().out
    runs = sorted(map(read_run, trained.seeds), key=lambda run: (-(run.value or 0), run.loss))
    expected = {run.folder.path.resolve() for run in runs[:2]}
    folder = only_ensemble(home)
    assert folder.name.startswith("pair-")
    written = json.loads((folder / "ensemble.json").read_text())
    assert {(folder / one["run"]).resolve() for one in written["members"]} == expected
    assert "the best 2 of 3 runs of trained/seeds by val/f1_macro" in said
    for run in runs[:2]:
        assert f"val/f1_macro {run.value:.4f}" in said
    results = json.loads((folder / "results.json").read_text())
    assert f"macro-F1                   {results['test']['f1_macro']:.3f}" in said
    assert "The mean of the members' scores" in said
    assert "Against the best member by validation" in said
    assert f"{results['test']['f1_macro']:.3f}" in (folder / "report.html").read_text()
    shown = json.loads((folder / "figures" / "errors" / "errors.json").read_text())["errors"]
    table = rows(folder / "predictions" / "test.csv")
    wrong = {row["path"] for row in table if row["label"] != row["prediction"]}
    assert {one["path"] for one in shown} <= wrong
    assert len(shown) == min(len(wrong), 12)
    assert all((folder / one["picture"]).is_file() and one["without_map"] is None for one in shown)


def test_named_runs_are_predicted_with_and_compared_to(
    home: Path, trained: Trained, capsys: pytest.CaptureFixture[str]
) -> None:
    named = ",".join(str(folder.path) for folder in trained.seeds[:2])
    assert main(["ensemble", f"runs=[{named}]", FEW]) == 0
    folder = only_ensemble(home)
    assert main(["predict", f"run={folder}", f"input={trained.images / 'test'}", "num_workers=0"]) == 0
    said = {row["path"]: float(row["prob_b"]) for row in rows(home / "predictions.csv")}
    scored = {row["path"].removeprefix("test/"): float(row["prob_b"]) for row in rows(folder / "predictions/test.csv")}
    assert said == pytest.approx(scored, abs=1e-6)
    copy = Path(shutil.copytree(trained.seeds[0].path, home / "copy"))
    capsys.readouterr()
    assert main(["evaluate", f"run={copy}", f"compare={folder}", FEW]) == 0
    assert "difference (95 % interval)" in capsys.readouterr().out
    (written,) = (copy / "comparisons").iterdir()
    found = json.loads(written.read_text())["comparisons"][1]
    accuracies = [json.loads((place / "results.json").read_text())["test"]["accuracy"] for place in (copy, folder)]
    assert [found["metric"], found["a"], found["b"]] == ["accuracy", *map(pytest.approx, accuracies)]
    assert main(["evaluate", f"run={copy}", f"compare={folder}", "split=train", FEW]) == 2
    assert "medimg ensemble" in capsys.readouterr().err


def test_a_study_of_folds(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["ensemble", "sweep=trained/folds", FEW]) == 0
    said = capsys.readouterr().out
    assert "the best 2 of each fold of 4 runs" in said
    assert "Out of fold: of each image the mean of the models that held it out (2 of 4)." in said
    assert "Against" not in said, "the members were asked about different images"
    assert len(rows(only_ensemble(home) / "predictions" / "test.csv")) == 24


def test_validation_is_said_to_have_chosen(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["ensemble", "sweep=trained/seeds", "split=val", FEW]) == 0
    assert "these scores are too good" in capsys.readouterr().out
    assert not (only_ensemble(home) / "predictions" / "test.csv").exists(), "test was not asked for"


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ([], ["runs=[RUN,RUN,...]", "sweep=FOLDER"]),
        (["runs=[a,b]", "sweep=c"], ["either"]),
        (["runs=trained/seeds/seed-0"], ["at least two members; here are 1"]),
        (["runs=[trained/seeds/seed-0,trained/seeds/seed-0]"], ["stands there twice"]),
        (["runs=[trained/seeds/seed-0,nowhere]"], ["run=nowhere", "there is no such folder"]),
        (["runs=[trained/seeds/seed-0,trained/folds/fold-0_seed-0]"], ["other images than", "data.root=PATH"]),
        (
            ["runs=[trained/folds/fold-0_seed-0,trained/folds/fold-0_seed-1,trained/folds/fold-1_seed-0]"],
            ["same number of members", "fold 0: 2 (seed 0, seed 1)", "fold 1: 1 (seed 0)"],
        ),
        (["sweep=trained/folds", "split=val"], ["val images"]),
        (["sweep=trained/seeds", "top=4"], ["top=4", "3 ranked runs"]),
        (["sweep=trained/seeds", "top=0"], ["top=0"]),
        (["sweep=trained/seeds", "top=some"], ["top=some"]),
        (["runs=[a,b]", "top=2"], ["top=2 belongs to sweep"]),
        (["sweep=trained/seeds", "split=train"], ["split=train", "test, val"]),
        (["sweep=trained/seeds", "name=a/b"], ["name=a/b"]),
        (["swep=trained/seeds"], ["'swep'", "'sweep'"]),
        (["sweep=nowhere"], ["no such folder"]),
    ],
)
def test_what_is_wrong_is_said(
    home: Path, given: list[str], named: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["ensemble", *given]) == 2
    said = capsys.readouterr().err
    assert said.startswith("medimg: error: ")
    for words in named:
        assert words in said
    assert not (home / "runs").exists()


def test_torch_is_not_loaded_for_a_refusal(home: Path) -> None:
    """In a process of its own, as the tests here have loaded torch long ago."""
    program = (
        "import sys\n"
        "from medimg.cli import main\n"
        "given = ['ensemble', 'runs=[trained/seeds/seed-0,trained/folds/fold-0_seed-0]']\n"
        "print(main(given), sorted({'torch', 'lightning', 'sklearn'} & set(sys.modules)), file=sys.stderr)\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=home, env=environment, capture_output=True, text=True, check=True
    )
    assert done.stderr.splitlines()[-1] == "2 []"
