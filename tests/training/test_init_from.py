"""A run that starts from another one's weights alone."""

from pathlib import Path

import pytest
import torch
from conftest import tiny_overrides

from medimg.config.compose import load
from medimg.errors import RequestError
from medimg.models import ImageClassifier
from medimg.runs import RunFolder
from medimg.training.init_from import init_from
from medimg.training.job import run_job


def model(config: object, classes: tuple[str, ...]) -> ImageClassifier:
    torch.manual_seed(5)
    return ImageClassifier(config.model, classes, image_size=32)  # type: ignore[attr-defined]


def test_all_weights_where_the_classes_are_the_same(tiny_run: tuple[RunFolder, object]) -> None:
    folder, config = tiny_run
    made = model(config, tuple(folder.info()["classes"]))
    init_from(made, str(folder.best))
    source = torch.load(folder.best, weights_only=True)["state_dict"]
    found = made.state_dict()
    assert all(torch.equal(found[name], value) for name, value in source.items() if name.startswith("backbone."))


def test_the_trunk_alone_where_they_are_not(tiny_run: tuple[RunFolder, object]) -> None:
    folder, config = tiny_run
    made = model(config, ("x", "y", "z"))
    before = {name: value.clone() for name, value in made.state_dict().items()}
    init_from(made, str(folder.best))
    source = torch.load(folder.best, weights_only=True)["state_dict"]
    head = {f"backbone.net.{name}.weight" for name in made.backbone._head_names} & before.keys()
    assert head
    for name, value in made.state_dict().items():
        if name.rpartition(".")[0] in {key.rpartition(".")[0] for key in head}:
            assert torch.equal(value, before[name])
        elif name.startswith("backbone."):
            assert torch.equal(value, source[name])


def test_another_model_is_refused(tiny_run: tuple[RunFolder, object], tmp_path: Path, session_cache: Path) -> None:
    other = load([*tiny_overrides(tmp_path, session_cache), "model.widths=[4,6]"])
    with pytest.raises(RequestError, match=r"model\.init_from=.*another model"):
        init_from(model(other, ("covid", "normal")), str(tiny_run[0].best))


def test_a_new_run_begins_at_epoch_0_with_those_weights(
    tiny_run: tuple[RunFolder, object], tmp_path: Path, session_cache: Path
) -> None:
    """With a learning rate of almost nothing it ends where it began."""
    folder = RunFolder(tmp_path / "run")
    frozen = ["optimizer=sgd", "optimizer.lr=1e-30", "trainer.max_epochs=1", "model.batch_norm=true"]
    overrides = [*tiny_overrides(tmp_path, session_cache), *frozen, f"model.init_from={tiny_run[0].best}"]
    run_job(load(overrides), folder, in_sweep=False)
    found, source = (torch.load(run.best, weights_only=True)["state_dict"] for run in (folder, tiny_run[0]))
    trained = [name for name in source if name.endswith((".weight", ".bias"))]
    assert trained
    assert all(torch.equal(found[name], source[name]) for name in trained)
    assert folder.metrics_file.read_text().splitlines()[1].startswith("0,")
