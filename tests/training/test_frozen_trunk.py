"""A frozen trunk lies once beside the checkpoints of its run, and everything that reads them gets it back."""

import shutil
from pathlib import Path
from typing import Any

import lightning as L
import pytest
import torch
from conftest import tiny_overrides
from lightning.pytorch.callbacks import Callback
from tiny_training import batches, configured, fit, loader

from medimg.cli import main
from medimg.config.compose import load
from medimg.errors import RequestError
from medimg.evaluation.predictions import Predictions
from medimg.inference.evaluate import evaluate_run
from medimg.inference.loading import load_classifier
from medimg.inference.predictor import load_predictor
from medimg.models import ImageClassifier
from medimg.models.trunk import Trunk, trunk_digest, trunk_state
from medimg.runs import RunFolder
from medimg.training.checkpoint_callbacks import AtomicCheckpointIO
from medimg.training.checkpoint_files import read_checkpoint
from medimg.training.frozen_trunk import keep_trunk
from medimg.training.init_from import init_from
from medimg.training.job import resume_job, run_job

# BatchNorm in the trunk, 0.35 million parameters
NET = {
    "_target_": "medimg.models.torchvision_backbone",
    "name": "net",
    "backbone": "shufflenet_v2_x0_5",
    "weights": None,
    "freeze": True,
}


def overrides(home: Path, cache: Path) -> list[str]:
    model = ["model=torchvision", f"model.backbone={NET['backbone']}", "model.weights=null", "model.freeze=true"]
    mine = [each for each in tiny_overrides(home, cache) if not each.startswith("model.")]
    return [*mine, *model, "callbacks.figures=null", "logger=none"]


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory, session_cache: Path) -> RunFolder:
    """Three epochs, each of them kept."""
    home = tmp_path_factory.mktemp("frozen")
    run_job(load(overrides(home, session_cache)), RunFolder(home / "run"), in_sweep=False)
    return RunFolder(home / "run")


@pytest.fixture
def run(original: RunFolder, tmp_path: Path) -> RunFolder:
    """A copy elsewhere, of which no file is shared with the original."""
    return RunFolder(Path(shutil.copytree(original.path, tmp_path / "copies" / "run")))


def trunk_file(folder: Path) -> Path:
    (file,) = folder.glob("trunk-*")
    return file


def plain(file: Path) -> Any:
    return torch.load(file, weights_only=True)


def same(found: dict[str, torch.Tensor], wanted: dict[str, torch.Tensor]) -> bool:
    return found.keys() == wanted.keys() and all(torch.equal(found[name], wanted[name]) for name in wanted)


def test_checkpoints_name_the_trunk_that_lies_once_beside_them(original: RunFolder) -> None:
    trunk = trunk_file(original.checkpoints)
    files = sorted(original.checkpoints.glob("*.ckpt"))
    assert [file.stem for file in files] == ["best", "epoch_000", "epoch_001", "epoch_002", "last"]
    assert len(list(original.checkpoints.iterdir())) == 6
    digest = trunk_digest(plain(trunk))
    for file in files:
        content = plain(file)
        assert content["frozen_trunk"] == {"file": trunk.name, "sha256": digest}
        assert [name for name in content["state_dict"] if name.startswith("backbone.")] == [
            "backbone.net.fc.weight",
            "backbone.net.fc.bias",
        ]
        assert file.stat().st_size < trunk.stat().st_size / 10
    assert trunk.name == f"trunk-{digest[:12]}.pt"


def test_the_trunk_is_the_one_that_the_seed_draws(original: RunFolder) -> None:
    L.seed_everything(original.read_config()["seed"], verbose=False)
    content = read_checkpoint(original.best)
    fresh = ImageClassifier(**content["hyper_parameters"]).state_dict()
    assert content["state_dict"].keys() == fresh.keys()
    assert "frozen_trunk" not in content
    head = {"backbone.net.fc.weight", "backbone.net.fc.bias"}
    assert {name for name in fresh if not torch.equal(content["state_dict"][name], fresh[name])} == head


def test_a_copied_run_is_whole(run: RunFolder, original: RunFolder) -> None:
    found = evaluate_run(run, checkpoint="all")
    assert [one.checkpoint.epoch for one in found] == [0, 1, 2]
    best = found[int(run.results()["best_epoch"])]
    tables = [Predictions.read_csv(folder.predictions("test")) for folder in (best.folder, original)]
    assert (tables[0].logits == tables[1].logits).all()


def test_every_way_to_a_classifier_gives_the_same(run: RunFolder) -> None:
    images = torch.rand(3, 3, 32, 32)
    with torch.no_grad():
        wanted = load_classifier(run)(images)
        for checkpoint in (run.best, str(run.best)):
            model = ImageClassifier.load_from_checkpoint(checkpoint, weights_only=True, map_location="cpu").eval()
            assert torch.equal(model(images), wanted)
        other = ImageClassifier.load_from_checkpoint(run.best, "cpu", None, True, normalize=False, weights_only=True)
        assert other.preprocessing.as_dict() != model.preprocessing.as_dict()
        assert same(other.state_dict(), model.state_dict())
    torch.testing.assert_close(load_predictor(run.path, "best").logits([images], torch.arange(3)), wanted)
    assert same(AtomicCheckpointIO().load_checkpoint(run.best)["state_dict"], model.state_dict())


def test_a_plain_trainer_reads_it_too(run: RunFolder) -> None:
    wanted, model = load_classifier(run), ImageClassifier(**plain(run.best)["hyper_parameters"])
    trainer = L.Trainer(accelerator="cpu", logger=False, enable_progress_bar=False, enable_model_summary=False)
    trainer.test(model, loader(batches(1)), ckpt_path=run.best, weights_only=True, verbose=False)
    assert same(model.state_dict(), wanted.state_dict())


def test_without_its_trunk_a_checkpoint_is_refused(
    run: RunFolder, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    alone = Path(shutil.copy(run.best, tmp_path / "alone.ckpt"))
    name = trunk_file(run.checkpoints).name
    for read in (read_checkpoint, ImageClassifier.load_from_checkpoint):
        with pytest.raises(
            RequestError, match=rf"alone\.ckpt needs the file {name} beside it.*\n.*copy the whole run folder"
        ):
            read(alone)
    with alone.open("rb") as stream, pytest.raises(RequestError, match=f"needs {name}.* by its path"):
        ImageClassifier.load_from_checkpoint(stream)
    trunk_file(run.checkpoints).unlink()
    assert main(["evaluate", f"run={run.path}"]) == 2
    error = capsys.readouterr().err
    assert error.startswith("medimg: error:") and name in error and "copy the whole" in error


@pytest.mark.parametrize("damage", ["other weights", "cut off", "no weights"])
def test_another_trunk_is_refused(run: RunFolder, damage: str) -> None:
    file = trunk_file(run.checkpoints)
    if damage == "other weights":
        state = plain(file)
        state["conv1.0.weight"][0, 0, 0, 0] += 1e-3
        torch.save(state, file)
    elif damage == "cut off":
        file.write_bytes(file.read_bytes()[:-1000])
    else:
        torch.save({"a": 1}, file)
    with pytest.raises(RequestError, match=rf"{file.name} is damaged, or not the frozen trunk of best\.ckpt"):
        load_classifier(run)


def test_a_run_goes_on_bit_for_bit(original: RunFolder, tmp_path: Path, session_cache: Path) -> None:
    folder = RunFolder(tmp_path / "run")
    run_job(load([*overrides(tmp_path, session_cache), "trainer.max_epochs=1"]), folder, in_sweep=False)
    written = trunk_file(folder.checkpoints).stat()
    left = [folder.checkpoints / f".trunk-{name}" for name in ("0123.45.pt", "0123.pt.45")]  # by a kill
    for file in left:
        file.write_bytes(b"half")
    resume_job(str(folder.path), tmp_path, {"trainer.max_epochs": 3})
    assert trunk_file(folder.checkpoints).stat() == written
    assert not any(file.exists() for file in left)
    for name in ("best", "last", "epoch_002"):
        found, wanted = (read_checkpoint(each.checkpoints / f"{name}.ckpt") for each in (folder, original))
        assert same(found["state_dict"], wanted["state_dict"])
    assert folder.metrics_file.read_text() == original.metrics_file.read_text()


def test_a_run_starts_from_the_full_state_of_another(run: RunFolder, tmp_path: Path, session_cache: Path) -> None:
    folder = RunFolder(tmp_path / "elsewhere" / "run")
    start = run.checkpoints / "epoch_001.ckpt"
    run_job(load([*overrides(tmp_path, session_cache), f"ckpt_path={start}"]), folder, in_sweep=False)
    assert trunk_file(folder.checkpoints).name == trunk_file(run.checkpoints).name
    assert same(read_checkpoint(folder.last)["state_dict"], read_checkpoint(run.last)["state_dict"])


def test_a_model_starts_from_the_weights_of_another(run: RunFolder) -> None:
    wanted = load_classifier(run)
    model = ImageClassifier(configured({"model": NET}).model, wanted.classes, image_size=32)
    init_from(model, str(run.best))
    assert same(model.backbone.state_dict(), wanted.backbone.state_dict())
    other = ImageClassifier(configured({"model": NET | {"weights": str(run.best)}}).model, ("x", "y", "z"))
    assert same(trunk_state(other.backbone), trunk_state(wanted.backbone))


def test_runs_of_a_study_share_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def trained(study: str, job: str, **changes: Any) -> Path:
        home = tmp_path / study / job
        fit(configured({"model": NET, **changes}), home, train=1)
        return trunk_file(home / "checkpoints")

    first, second = trained("study", "a"), trained("study", "b", **{"optimizer.lr": 0.5})
    assert first.samefile(second)
    assert not first.samefile(trained("other", "a"))
    assert trained("study", "c", seed=7).name != first.name
    first.write_bytes(b"damaged")  # and so is the second, which is the same file
    third = trained("study", "d")
    assert trunk_digest(plain(third))[:12] in third.name

    def no_links(*_: object) -> None:
        raise OSError(1, "no hard links here")

    monkeypatch.setattr("os.link", no_links)
    fourth = trained("study", "e")
    assert fourth.read_bytes() == third.read_bytes() and not fourth.samefile(third)
    assert sorted(path.name for path in fourth.parent.iterdir()) == ["best.ckpt", "last.ckpt", fourth.name]


def test_where_there_is_no_study_around_it_the_trunk_is_written(monkeypatch: pytest.MonkeyPatch) -> None:
    """Directly below a top folder, where a test cannot write."""
    asked: list[Path] = []

    class WritingError(Exception):
        """It got as far as writing."""

    def no_writing(file: Path) -> None:
        asked.append(file)
        raise WritingError

    monkeypatch.setattr("medimg.training.frozen_trunk.replaced", no_writing)
    trunk = Trunk({"a": torch.zeros(1)}, "0" * 64)
    for folder in (Path("/top-folder"), Path("/")):
        with pytest.raises(WritingError):
            keep_trunk(trunk, folder)
    assert asked == [Path("/top-folder") / trunk.file_name, Path("/") / trunk.file_name]


def test_a_run_that_is_deleted_beside_a_starting_one_costs_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    state = {"a": torch.arange(3.0)}
    trunk = Trunk(state, trunk_digest(state))
    here, there = (tmp_path / run / "checkpoints" for run in ("here", "there"))
    there.mkdir(parents=True)
    (there / trunk.file_name).write_bytes(b"damaged")  # so that it is not taken, and looked at again at the end
    samefile = Path.samefile

    def gone(self: Path, other: Path) -> bool:
        shutil.rmtree(there)
        return samefile(self, other)

    monkeypatch.setattr(Path, "samefile", gone)
    keep_trunk(trunk, here)
    assert not there.exists()
    assert same(plain(here / trunk.file_name), state)


def test_no_checkpoint_is_there_before_its_trunk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    replace, order = Path.replace, []

    def note(self: Path, target: Path) -> None:
        replace(self, target)
        if target.parent.name == "checkpoints":
            order.append(target.suffix)

    monkeypatch.setattr(Path, "replace", note)
    fit(configured({"model": NET}), tmp_path, train=1)
    assert order == [".pt", ".ckpt", ".ckpt"]


@pytest.mark.parametrize("freeze", [False, "params"])
def test_what_is_not_frozen_whole_stays_in_the_checkpoint(tmp_path: Path, freeze: object) -> None:
    _, model = fit(configured({"model": NET | {"freeze": freeze}}), tmp_path, train=1)
    assert sorted(path.name for path in (tmp_path / "checkpoints").iterdir()) == ["best.ckpt", "last.ckpt"]
    assert same(plain(tmp_path / "checkpoints/last.ckpt")["state_dict"], model.state_dict())


def test_whole_checkpoints_of_before_go_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = configured({"model": NET, "trainer.max_epochs": 2})
    _, once = fit(config, tmp_path / "once")
    with monkeypatch.context() as patched:
        patched.setattr("medimg.training.trainer.FrozenTrunk", Callback)
        fit(configured({"model": NET}), tmp_path / "run")
    last = tmp_path / "run/checkpoints/last.ckpt"
    assert "frozen_trunk" not in plain(last)
    _, resumed = fit(config, tmp_path / "run", checkpoint=last)
    assert "frozen_trunk" in plain(last)
    assert same(resumed.state_dict(), once.state_dict())


def test_a_trunk_that_is_changed_all_the_same_is_not_lost(tmp_path: Path) -> None:
    """By a callback of the user's own: checkpoints of before and after have theirs."""

    class Change(Callback):
        def on_train_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
            with torch.no_grad():
                pl_module.get_parameter("backbone.net.conv1.0.weight").add_(1.0)

    every = {"callbacks.checkpoint.every_epoch": True, "trainer.max_epochs": 2}
    _, model = fit(configured({"model": NET, **every}), tmp_path, Change())
    name = "backbone.net.conv1.0.weight"
    first, last = (read_checkpoint(tmp_path / f"checkpoints/epoch_00{epoch}.ckpt")["state_dict"] for epoch in (0, 1))
    assert torch.equal(last[name], model.state_dict()[name])
    torch.testing.assert_close(last[name] - first[name], torch.ones_like(first[name]), rtol=0, atol=1e-5)
    assert len(list((tmp_path / "checkpoints").glob("trunk-*"))) == 2
