"""What a user sees of `medimg`: its commands, exit codes, and errors that say what is wrong and what is right."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from medimg.cli import COMMANDS, main
from medimg.commands import train
from medimg.errors import Interrupted, MedimgError

Answer = tuple[int, str]


@pytest.fixture
def ask(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., tuple[int, str]]:
    """Runs a command in an empty folder, where nothing may train; returns exit code and stderr."""

    def never(*_: object) -> None:
        raise AssertionError("this request was wrong, and yet it ran")

    monkeypatch.setattr(train, "_job", never)
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str) -> Answer:
        code = main(list(arguments))
        return code, capsys.readouterr().err

    return run


# what is given, and what the answer has to name: the key, what was found, what is allowed, the nearest
WRONG = [
    (["optimizer.lrr=1"], ["'optimizer.lrr'", "Did you mean 'optimizer.lr'", "weight_decay"]),
    (["dta.root=/scans (old)/a=b"], ["'dta.root'", "Did you mean 'data.root'"]),
    (["modle=resnet18"], ["'modle'", "'model'"]),
    (["+model.widhts=[1]"], ["'model.widhts'", "'widths'", "kernel_size"]),
    (["scheduler.gamma=0.5"], ["'scheduler.gamma'", "choices of scheduler", "step"]),
    (["callbacks.early_stopping.patience=3"], ["'callbacks.early_stopping.patience'", "early_stopping"]),
    (["model=resnet19"], ["model=resnet19", "'resnet18'", "vgg16"]),
    (["experiment=covid_cn"], ["experiment=covid_cn", "'covid_cnn'", "ct_resnet50"]),
    (["scheduler=null"], ["scheduler=null", "none"]),
    (["optimizer=5"], ["optimizer=5", "adam"]),
    (["seed=abc"], ["seed=abc", "whole number"]),
    (["data.val_fraction=1.0"], ["data.val_fraction=1.0", "< 1.0"]),
    (["model=resnet18", "model.freeze=param"], ["model.freeze=param", "'params'", "true"]),
    (
        ["model._target_=os.system"],
        ["model._target_=os.system", "medimg.models.small_cnn", "allow={model:[os.system]}"],
    ),
    (["allow=5", "optimizer._target_=my.Lion"], ["allow=5"]),
    (["data.root"], ["data.root", "key=value"]),
    (["=5"], ["=5", "key=value"]),
    (["model.widths=[1,2"], ["model.widths=[1,2", "key=value"]),
    (["data=ct"], ["data.root", "needed", "folder"]),
    (["data=covid", "data.root=''"], ["data.root", "needed"]),
    (["data=covid", "data.root=/no/such/folder"], ["data.root=/no/such/folder", "no such file or folder"]),
    (["ckpt_path=/no/such.ckpt"], ["ckpt_path=/no/such.ckpt", "no such file"]),
    (["model=torchvision"], ["model.backbone", "needed"]),
    (["data.folds=5"], ["data.folds", "data.fold"]),
    (["data.sampler=balanced", "loss.class_weights=auto"], ["data.sampler=balanced", "loss.class_weights=null"]),
    (["monitor.metric=test/accuracy"], ["monitor.metric=test/accuracy", "'val/accuracy'"]),
    (["name=${data.nam}"], ["data.nam"]),
    (["seed=0,1"], ["seed=0,1", "-m"]),
    (["seed=range(0,3)"], ["seed=range(0,3)", "-m"]),
    (["+seed=1"], ["seed", "without the +"]),
    (["--foo"], ["--foo", "--help"]),
    (["--cfg", "everything"], ["everything", "job"]),
    (["--cfg", "job", "--package", "nowhere"], ["nowhere"]),
    (["--cfg", "job", "optimizer.lrr=1"], ["'optimizer.lr'"]),
]


@pytest.mark.parametrize(("given", "named"), WRONG, ids=[" ".join(given) for given, _ in WRONG])
def test_wrong_request_is_told_what_is_right(ask: Callable[..., Answer], given: list[str], named: list[str]) -> None:
    code, said = ask("train", *given)
    assert code == 2
    assert said.startswith("medimg: error: ")
    assert "Traceback" not in said
    assert len(said.splitlines()) <= 8
    for words in named:
        assert words in said
    assert not Path("runs").exists()


@pytest.mark.parametrize(
    ("given", "named"),
    [
        (["trian"], ["'trian'", "'train'", "resume"]),
        (["--foo"], ["'--foo'", "train"]),
        (["resume"], ["run="]),
        (["resume", "run="], ["run="]),
        (["resume", "rnu=latest"], ["'rnu'", "'run'", "trainer.max_epochs"]),
        (["resume", "run=latest", "--foo"], ["--foo"]),
    ],
)
def test_wrong_command_or_option(ask: Callable[..., Answer], given: list[str], named: list[str]) -> None:
    code, said = ask(*given)
    assert (code, said[:15]) == (2, "medimg: error: ")
    for words in named:
        assert words in said


@pytest.mark.parametrize("text", ["a: [1\n", "a: 1\nb\n"])
def test_a_broken_file_of_the_users_own_is_named(ask: Callable[..., Answer], tmp_path: Path, text: str) -> None:
    own = tmp_path / "conf" / "experiment" / "mine.yaml"
    own.parent.mkdir(parents=True)
    own.write_text(f"# @package _global_\n{text}", encoding="utf-8")
    code, said = ask("train", "experiment=mine")
    assert code == 2
    assert str(own) in said


def test_a_place_where_nothing_can_be_written(ask: Callable[..., Answer], tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    code, said = ask("train", "paths.runs=file/runs")
    assert (code, said[:15]) == (2, "medimg: error: ")
    assert "file/runs" in said


@pytest.mark.parametrize(
    "sweep",
    [
        ["seed=0,x"],
        ["model=small_cnn,smal_cnn"],
        ["data.fold=0,1,2", "data.folds=2"],
        ["seed=0,1", "optimizer.lrr=1"],
        ["name=a,b"],
    ],
)
def test_all_jobs_are_checked_before_the_first_starts(ask: Callable[..., Answer], sweep: list[str]) -> None:
    code, said = ask("train", "-m", *sweep)
    assert (code, said[:15]) == (2, "medimg: error: ")
    assert not Path("runs").exists()
    assert not Path("multirun").exists()


def test_the_job_that_is_wrong_is_named(ask: Callable[..., Answer]) -> None:
    said = ask("train", "-m", "seed=0,1", "optimizer.lr=0.1,0")[1]
    assert "job 2 of 4 (seed=0 optimizer.lr=0)" in said


def test_mistakes_are_answered_before_torch_is_loaded(tmp_path: Path) -> None:
    """In a process of its own, as the tests here have loaded torch long ago."""
    cases = [
        ["train", "optimizer.lrr=1"],
        ["train", "model=resnet19"],
        ["train", "seed=x"],
        ["train", "data=ct"],
        ["train", "-m", "seed=0,x"],
        ["train", "--help"],
        ["resume", "run=latest"],
        ["leaderboard", "dir=nowhere"],
    ]
    program = (
        "import sys\n"
        "from medimg.cli import main\n"
        f"print([main(case) for case in {cases!r}], file=sys.stderr)\n"
        "heavy = {'torch', 'lightning', 'torchvision', 'sklearn', 'optuna', 'sqlalchemy'}\n"
        "print(sorted(heavy & set(sys.modules)), file=sys.stderr)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, env=environment(), capture_output=True, text=True, check=True
    )
    assert done.stderr.splitlines()[-2:] == ["[2, 2, 2, 2, 2, 0, 2, 2]", "[]"]


def environment() -> dict[str, str]:
    import os

    return {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}


def test_without_arguments_the_commands_are_listed(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert main([]) == 0
    listed = capsys.readouterr().out
    for command in COMMANDS:
        assert f"\n  {command} " in listed
    assert main(["--help"]) == 0
    assert capsys.readouterr().out == listed
    module = subprocess.run(
        [sys.executable, "-m", "medimg"], cwd=tmp_path, env=environment(), capture_output=True, text=True, check=True
    )
    assert module.stdout == listed


def test_every_listed_command_has_help(capsys: pytest.CaptureFixture[str]) -> None:
    for command in COMMANDS:
        assert main([command, "--help"]) == 0
        assert capsys.readouterr().out.startswith(f"medimg {command}")


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.startswith("medimg 0.")


@pytest.mark.parametrize(
    ("raised", "code"),
    [
        (MedimgError("the work failed"), 1),
        (Interrupted(15), 143),
        (Interrupted(2), 130),
        (Interrupted(10), 138),
        (KeyboardInterrupt(), 130),
    ],
)
def test_exit_codes(
    raised: BaseException, code: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(_: object) -> int:
        raise raised

    monkeypatch.setattr(train, "main", fail)
    assert main(["train"]) == code
    assert capsys.readouterr().err.startswith("medimg: ")


def test_a_process_of_its_own_leaves_what_it_imported_to_the_system() -> None:
    """The garbage collector goes through it neither at every turn nor at the end: that took two seconds of a run."""
    code = (
        "import atexit, gc, sys\n"
        "from medimg.cli import command\n"
        "atexit.register(lambda: print(gc.get_threshold()[0], gc.get_freeze_count()))\n"
        "sys.argv = ['medimg', '--version']\n"
        "sys.exit(command())\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    threshold, frozen = map(int, done.stdout.splitlines()[-1].split())
    assert threshold == 10_000
    assert frozen > 1_000
    assert "medimg.cli:command" in (Path(__file__).parents[1] / "pyproject.toml").read_text()


def test_a_reader_that_has_seen_enough_is_no_error() -> None:
    """`medimg help | head -1` on a pipe that nobody reads any more."""
    code = "import sys; from medimg.cli import command; sys.argv = ['medimg', 'help']; sys.exit(command())"
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run([sys.executable, "-c", code], check=False, stdout=writing, stderr=subprocess.PIPE, text=True)
    os.close(writing)
    assert (done.returncode, done.stderr) == (141, "")
    none = f"import os; os.close(1); os.execv({sys.executable!r}, ['python', '-c', {code!r}])"
    closed = subprocess.run([sys.executable, "-c", none], check=False)
    assert closed.returncode == 0, "no standard output at all, as a daemon's"


@pytest.mark.parametrize(
    ("given", "expected"), [({}, "10000"), ({"GOMP_SPINCOUNT": "5"}, "5"), ({"OMP_WAIT_POLICY": "active"}, "None")]
)
def test_threads_that_wait_give_their_core_up_unless_told_otherwise(given: dict[str, str], expected: str) -> None:
    code = (
        "import os, sys; from medimg.cli import command; sys.argv = ['medimg', '--version']; command(); "
        "print(os.environ.get('GOMP_SPINCOUNT'))"
    )
    left = {name: value for name, value in os.environ.items() if name not in {"GOMP_SPINCOUNT", "OMP_WAIT_POLICY"}}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=left | given)
    assert done.stdout.split()[-1] == expected
