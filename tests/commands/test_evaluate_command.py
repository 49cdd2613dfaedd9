import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from medimg.commands import augmentation
from medimg.commands.evaluate import main
from medimg.config.check import as_dict
from medimg.config.compose import load
from medimg.errors import RequestError
from medimg.runs import RunFolder


def test_help_names_the_keys(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    assert "checkpoint" in capsys.readouterr().out


def test_a_run_is_needed() -> None:
    with pytest.raises(RequestError, match=r"run=\.\.\. is needed"):
        main([])


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["compare=nowhere"], "run=nowhere: there is no such folder"),
        (["compare=latest", "paths.runs=empty"], "no run below .*/empty"),
    ],
)
def test_what_it_is_compared_with_is_found_first(
    given: list[str], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    folder = RunFolder(tmp_path / "runs" / "a")
    folder.update(status="completed", started="2024-01-01T00:00:00+00:00")
    folder.checkpoints.mkdir()
    folder.best.touch()
    with pytest.raises(RequestError, match=said):
        main(["run=runs/a", *given])
    assert {file.name for file in folder.path.iterdir()} == {"run.json", "checkpoints"}


def test_views_are_varied_as_asked_for_by_the_runs_seed(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "a")
    folder.write_config(as_dict(load(["seed=7", "augment=none"])))
    views = augmentation.test_time_augmentation(folder, 2, "light")
    assert views is not None
    assert (views.config, views.views, views.seed) == (load(["augment=light"]).augment, 2, 7)
    assert augmentation.test_time_augmentation(folder, 0, None) is None
    for choice, said in ((None, "trained without augmentation"), ("none", "augment=none varies nothing")):
        with pytest.raises(RequestError, match=said):
            augmentation.test_time_augmentation(folder, 2, choice)


def test_mistakes_are_answered_before_torch_is_loaded(tiny_run: tuple[RunFolder, object], tmp_path: Path) -> None:
    """In a process of its own, as the tests here have loaded torch long ago."""
    run = RunFolder(Path(shutil.copytree(tiny_run[0].path, tmp_path / "run")))
    twin = RunFolder(Path(shutil.copytree(run.path, tmp_path / "twin")))
    lines = twin.predictions("test").read_text().splitlines(keepends=True)
    twin.predictions("test").write_text("".join(lines[:-1]))
    twin.predictions("val").unlink()
    unvaried = run.read_config()
    unvaried["augment"] = as_dict(load(["augment=none"]))["augment"]
    twin.write_config(unvaried)
    cases = {
        "checkpoint=5": "best, epoch_000",
        "split=foo": "split=foo",
        "data.root=nowhere": "nowhere does not exist",
        "compare=nowhere": "no such folder",
        f"compare={twin.path}": "1 are in one of them alone",
        f"compare={twin.path} split=val": "it has no predictions/val.csv",
        f"compare={twin.path} checkpoint=all": "takes one checkpoint",
        f"run={twin.path} tta=2": "trained without augmentation",
        f"run={twin.path} tta=2 augment=lihgt": "'light'",
    }
    program = (
        "import sys\n"
        "from medimg.cli import main\n"
        f"for case in {list(cases)!r}:\n"
        f"    given = case.split() if case.startswith('run=') else ['run={run.path}', *case.split()]\n"
        "    print(main(['evaluate', *given]), '#', file=sys.stderr)\n"
        "print(sorted({'torch', 'lightning', 'torchvision'} & set(sys.modules)), file=sys.stderr)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=True)
    *answers, heavy = done.stderr.split("2 #\n")
    assert [(said, answer) for answer, said in zip(answers, cases.values(), strict=True) if said not in answer] == []
    assert heavy.strip() == "[]"
