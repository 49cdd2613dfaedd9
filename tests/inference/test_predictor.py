"""A predictor is what the run folder says, and an ensemble is the mean of its members."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from conftest import TINY

from medimg.config import TrainConfig
from medimg.config.augment import AugmentConfig
from medimg.config.compose import load
from medimg.errors import RequestError
from medimg.inference.loading import load_classifier
from medimg.inference.predictor import load_predictor
from medimg.runs import RunFolder
from medimg.training.job import run_job

Run = tuple[RunFolder, TrainConfig]
POINTS = {"chosen": "youden", "positive_class": "covid", "points": {"youden": {"threshold": 0.37}}}


@pytest.fixture
def copy(tiny_run: Run, tmp_path: Path) -> RunFolder:
    shutil.copytree(tiny_run[0].path, tmp_path / "copy")
    return RunFolder(tmp_path / "copy")


def with_results(folder: Path, **values: object) -> Path:
    file = folder / "results.json"
    before = json.loads(file.read_text()) if file.is_file() else {}
    file.write_text(json.dumps(before | values))
    return folder


def ensemble(home: Path, *members: tuple[RunFolder, str], **more: object) -> Path:
    home.mkdir()
    listed = [{"run": str(run.path), "checkpoint": checkpoint} for run, checkpoint in members]
    (home / "ensemble.json").write_text(json.dumps({"members": listed} | more))
    return home


def noise(size: int = 32) -> torch.Tensor:
    return torch.rand(4, 3, size, size, generator=torch.Generator().manual_seed(0))


@torch.no_grad()
def test_of_a_run(tiny_run: Run) -> None:
    folder, _ = tiny_run
    found = load_predictor(folder.path)
    assert (found.classes, found.positive_class) == (("normal", "covid"), "covid")
    # with so few patients in validation nothing was fitted
    assert (found.threshold, found.temperature, found.rule) == (0.5, None, "argmax")
    torch.testing.assert_close(found.logits([noise()], torch.arange(4)), load_classifier(folder)(noise()))


def test_it_computes_as_exactly_as_the_training_did(copy: RunFolder) -> None:
    assert load_predictor(copy.path).members[0].arithmetic == "high"
    config = copy.read_config()
    config["trainer"]["float32_matmul_precision"] = "highest"
    copy.write_config(config)
    assert load_predictor(copy.path).members[0].arithmetic == "highest"


def test_operating_point_and_temperature_are_of_the_best_epoch(copy: RunFolder) -> None:
    with_results(copy.path, operating_points=POINTS, temperature={"value": 1.5, "safe": True})
    best = load_predictor(copy.path, "best")
    assert (best.threshold, best.rule, best.temperature) == (0.37, "youden", 1.5)
    other = load_predictor(copy.path, str(copy.checkpoints / "epoch_000.ckpt"))
    assert (other.threshold, other.rule, other.temperature) == (None, None, None)
    assert best.identity != other.identity


@pytest.mark.parametrize("points", [None, {"chosen": None, "points": {}}])
def test_what_was_not_chosen_is_none(copy: RunFolder, points: object) -> None:
    found = load_predictor(with_results(copy.path, operating_points=points, temperature=None))
    assert (found.threshold, found.rule, found.temperature) == (None, None, None)


def test_identity_is_of_what_changes_the_answer(copy: RunFolder, tiny_run: Run) -> None:
    first = load_predictor(tiny_run[0].path)
    assert load_predictor(copy.path).identity == first.identity
    with_results(copy.path, operating_points=POINTS)
    assert load_predictor(copy.path).identity != first.identity
    assert len({first.with_views(views).identity for views in (1, 2)} | {first.identity}) == 3


@torch.no_grad()
def test_an_ensemble_is_the_mean_of_probabilities(tiny_run: Run, tmp_path: Path) -> None:
    folder, _ = tiny_run
    last = str(folder.checkpoints / "epoch_002.ckpt")
    found = load_predictor(
        with_results(ensemble(tmp_path / "both", (folder, "best"), (folder, last)), operating_points=POINTS)
    )
    members = [load_classifier(folder), load_classifier(folder, Path(last))]
    mean = torch.stack([model(noise()).softmax(1) for model in members]).mean(0)
    assert len(found.readings) == 1 and found.threshold == 0.37
    logits = found.logits([noise(), noise()], torch.arange(4))
    torch.testing.assert_close(logits.softmax(1).float(), mean)
    assert not torch.allclose(members[0](noise()).softmax(1), mean, atol=1e-4)


def test_members_are_found_beside_the_ensemble(copy: RunFolder, tmp_path: Path) -> None:
    home = ensemble(tmp_path / "both")
    (home / "ensemble.json").write_text(json.dumps({"members": [{"run": "../copy"}], "classes": ["normal", "covid"]}))
    assert load_predictor(home).classes == ("normal", "covid")


@pytest.mark.parametrize(
    ("written", "named"),
    [
        ({"members": []}, "names no members"),
        ({"members": [{"checkpoint": "best"}]}, "run"),
        ({"members": [{"run": "../copy"}], "classes": ["covid", "normal"]}, "knows the classes"),
        ({"members": [{"run": "../none"}]}, "no checkpoints"),
        ({}, "members"),
    ],
)
def test_an_ensemble_that_is_none(copy: RunFolder, tmp_path: Path, written: dict[str, object], named: str) -> None:
    home = ensemble(tmp_path / "both")
    (home / "ensemble.json").write_text(json.dumps(written))
    with pytest.raises(RequestError, match=named):
        load_predictor(home)


def test_the_checkpoints_of_an_ensemble_are_its_own(tiny_run: Run, tmp_path: Path) -> None:
    home = ensemble(tmp_path / "one", (tiny_run[0], "best"))
    with pytest.raises(RequestError, match="checkpoint=last"):
        load_predictor(home, "last")


def test_members_of_other_sizes_read_images_in_their_own_way(
    tiny_run: Run, tmp_path: Path, session_cache: Path
) -> None:
    shared = ["data=covid_phantom", "data.size=32", "data.patients_per_class=10", f"paths.cache={session_cache}"]
    small = RunFolder(tmp_path / "small")
    options = ["data.image_size=16", "model.widths=[4]", "model.in_channels=1", "trainer.max_epochs=1"]
    run_job(load([*TINY, *shared, *options, "data.difficulty=0.0"]), small, in_sweep=False)
    found = load_predictor(ensemble(tmp_path / "both", (tiny_run[0], "best"), (small, "last")))
    assert [(r.preprocessing.height, r.preprocessing.channels) for r in found.readings] == [(64, 3), (16, 1)]


@torch.no_grad()
def test_views_are_those_of_the_training_unless_told(tiny_run: Run) -> None:
    folder, config = tiny_run
    plain = load_predictor(folder.path)
    own = plain.with_views(2)
    assert own.members[0].augmentation == config.augment
    asked = [predictor.logits([noise()], torch.arange(4)) for predictor in (plain, own, own)]
    assert not torch.allclose(asked[0].softmax(1).double(), asked[1].softmax(1), atol=1e-6)
    assert torch.equal(asked[1], asked[2])
    assert plain.with_views(2, AugmentConfig(rotate=3.0)).members[0].augmentation == AugmentConfig(rotate=3.0)
    with pytest.raises(RequestError, match="augment=rotate_zoom"):
        plain.with_views(2, AugmentConfig())


def test_an_ensemble_of_a_run_that_was_trained_on_is_refused(copy: RunFolder, tmp_path: Path) -> None:
    home = ensemble(tmp_path / "both", (copy, "best"))
    written = json.loads((home / "ensemble.json").read_text())
    written["members"][0]["sha256"] = load_predictor(copy.path).members[0].identity
    (home / "ensemble.json").write_text(json.dumps(written))
    load_predictor(home)
    written["members"][0]["sha256"] = "0" * 64
    (home / "ensemble.json").write_text(json.dumps(written))
    with pytest.raises(RequestError, match="is not the model any more"):
        load_predictor(home)
