"""Launchers of the Hydra ecosystem, each in its local mode: results, a job that fails, and skipping afterwards."""

import importlib.util
from pathlib import Path

import pytest
from sweep_process import FAILS, SweepProcess

from medimg.cli import main
from medimg.config import explain


@pytest.mark.parametrize("launcher", ["joblib", "submitit_local", pytest.param("ray", marks=pytest.mark.ray)])
def test_two_jobs_of_which_one_fails(launcher: str, tmp_path: Path) -> None:
    module = f"hydra_{launcher.partition('_')[0]}_launcher"
    if importlib.util.find_spec("hydra_plugins") is None or importlib.util.find_spec(f"hydra_plugins.{module}") is None:
        pytest.skip(f"pip install 'medimg[{launcher.partition('_')[0]}]'")
    sweep = SweepProcess(tmp_path, tmp_path)
    phantoms = ["data=covid_phantom", "data.root=null", "data.size=16", "data.patients_per_class=8"]
    lines = [*phantoms, f"optimizer.lr=0.01,{FAILS}", f"hydra/launcher={launcher}"]
    done = sweep.run(*lines)
    assert done.returncode == 1, done.stderr
    assert sorted(sweep.status()) == ["completed", "failed"]
    assert (sweep.jobs("0.01")[0] / "results.json").is_file()
    assert "not finite" in (sweep.jobs(FAILS)[0] / "error.txt").read_text()
    assert [row["status"] for row in sweep.leaderboard()] == ["completed", "failed"]
    own = {".cache", "runs", ".ray", ".config"}  # caches of torch and of the launchers below HOME
    assert {path.name for path in tmp_path.iterdir()} <= own
    again = sweep.run(*phantoms, "optimizer.lr=0.01", f"hydra/launcher={launcher}")
    assert again.returncode == 0, again.stderr
    log = (sweep.jobs("0.01")[0] / "train.log").read_text()
    assert log.count(": best epoch ") == log.count("skipped") == 1


def test_one_that_is_not_installed_names_the_extra(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(explain.EXTRAS, "elsewhere", "ray")
    assert main(["train", "-m", "seed=0,1", "hydra/launcher=elsewhere"]) == 2
    assert "hydra/launcher=elsewhere is not installed\n  pip install 'medimg[ray]'" in capsys.readouterr().err


def test_those_that_start_all_jobs_cannot_stop_at_a_failure(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    pytest.importorskip("hydra_plugins.hydra_joblib_launcher")
    assert main(["train", "-m", "seed=0,1", "hydra/launcher=joblib", "sweep.on_error=stop"]) == 2
    assert "hydra/launcher=local" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
