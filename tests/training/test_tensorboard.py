"""What TensorBoard finds in the event files of a run."""

import csv
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from sklearn.metrics import confusion_matrix
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData
from tiny_training import configured, fit

from medimg.config import MonitorConfig, TrainConfig
from medimg.reporting.drawing import pixels
from medimg.reporting.figures import confusion_matrix_figure
from medimg.runs import RunFolder
from medimg.runs.leaderboard import leaderboard
from medimg.training.tensorboard import TensorBoardFigures, log_figures

Run = tuple[RunFolder, TrainConfig]


def accumulated(folder: Path) -> EventAccumulator:
    events = EventAccumulator(str(folder / "tensorboard"), size_guidance={"images": 0, "tensors": 0, "scalars": 0})
    events.Reload()
    return events


@pytest.fixture(scope="module")
def events(tiny_run: Run) -> EventAccumulator:
    return accumulated(tiny_run[0].path)


def table(folder: RunFolder) -> list[dict[str, str]]:
    with folder.metrics_file.open(newline="") as stream:
        return list(csv.DictReader(stream))


def drawn_epochs(rows: list[dict[str, str]]) -> list[int]:
    """Each new best epoch, and the last."""
    ranks = [(float(row["val/f1_macro"]), -float(row["val/loss"])) for row in rows]
    best = [epoch for epoch in range(len(ranks)) if all(ranks[epoch] > before for before in ranks[:epoch])]
    return sorted({*best, len(ranks) - 1})


def picture(events: EventAccumulator, tag: str, number: int = -1) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(events.Images(tag)[number].encoded_image_string)))


@pytest.mark.parametrize("name", ["train/loss", "val/loss", "train/f1_macro", "val/f1_macro", "val/f1/covid"])
def test_scalars_are_those_of_the_table(events: EventAccumulator, tiny_run: Run, name: str) -> None:
    found = events.Scalars(name)
    assert [each.value for each in found] == pytest.approx([float(row[name]) for row in table(tiny_run[0])], abs=1e-6)
    assert len({each.step for each in found}) == 3


def test_the_learning_rate_is_shown(events: EventAccumulator) -> None:
    assert [each.value for each in events.Scalars("lr-Adam")] == pytest.approx([0.01] * 3)


def test_confusion_matrices_are_drawn_for_new_best_epochs_and_the_last(events: EventAccumulator, tiny_run: Run) -> None:
    rows = table(tiny_run[0])
    steps_an_epoch = -(-tiny_run[0].info()["counts"]["train"]["covid"] * 2 // 8)
    expected = [(epoch + 1) * steps_an_epoch - 1 for epoch in drawn_epochs(rows)]
    for kind in ("counts", "by_true_class"):
        assert [image.step for image in events.Images(f"val/confusion_matrix/{kind}")] == expected
    for name in ("normal", "covid"):
        tag = f"val/precision_recall/{name}"
        assert [tensor.step for tensor in events.Tensors(tag)] == expected
        assert tag in events.PluginTagToContent("pr_curves")


def test_the_confusion_matrix_is_that_of_the_predictions(events: EventAccumulator, tiny_run: Run) -> None:
    folder = tiny_run[0]
    rows = table(folder)
    best = json.loads(folder.results_file.read_text())["best_epoch"]
    with folder.predictions("val").open(newline="") as stream:
        predictions = list(csv.DictReader(stream))
    classes = ["normal", "covid"]
    counts = confusion_matrix(
        [row["label"] for row in predictions], [row["prediction"] for row in predictions], labels=classes
    )
    number = drawn_epochs(rows).index(best)
    shown = picture(events, "val/confusion_matrix/counts", number)
    np.testing.assert_array_equal(shown, pixels(confusion_matrix_figure(counts, classes)))


def test_the_first_batch_is_shown_as_it_is_trained_on(events: EventAccumulator, tiny_run: Run) -> None:
    (image,) = events.Images("train/augmented_images")
    assert image.step == 0
    height = tiny_run[0].info()["preprocessing"]["height"]
    shown = picture(events, "train/augmented_images")
    assert shown.shape == (height + 4, 8 * (height + 2) + 2, 3)  # a batch of 8 in a row, 2 pixels between
    tiles = [shown[2:-2, 2 + column * (height + 2) :][:, :height] for column in range(8)]
    assert len({tile.tobytes() for tile in tiles}) == 8
    assert all(10 < tile.mean() < 245 for tile in tiles)  # neither normalised nor divided by 255 twice


def test_hparams_compare_runs_by_their_best_scores(events: EventAccumulator, tiny_run: Run) -> None:
    content = events.PluginTagToContent("hparams")
    settings = HParamsPluginData.FromString(content["_hparams_/session_start_info"]).session_start_info.hparams
    assert settings["lr"].number_value == pytest.approx(0.01)
    assert settings["model"].string_value == "small_cnn"
    assert settings["optimizer"].string_value == "Adam"
    shown = {name: settings[name].string_value for name in ("seed", "batch_size")}
    assert shown == {"seed": str(tiny_run[1].seed), "batch_size": str(tiny_run[1].data.batch_size)}
    described = HParamsPluginData.FromString(content["_hparams_/experiment"]).experiment
    scores = {info.name.tag for info in described.metric_infos}
    assert {"val_best/f1_macro", "val_best/auroc"} <= scores
    results = json.loads(tiny_run[0].results_file.read_text())
    for name in ("f1_macro", "accuracy"):
        assert events.Scalars(f"val_best/{name}")[-1].value == pytest.approx(results["val"][name])
    assert not any("test" in tag for tag in events.Tags()["scalars"])


def test_hparams_show_the_number_of_the_leaderboard(events: EventAccumulator, tiny_run: Run) -> None:
    (section,) = leaderboard([tiny_run[0]]).sections
    (entry,) = section.entries
    metric = tiny_run[1].monitor.metric
    shown = [event.value for event in events.Scalars(metric.replace("val/", "val_best/"))]
    assert shown == [pytest.approx(entry.score.mean, rel=1e-6)]  # TensorBoard keeps 32 bits


TENSORBOARD: dict[str, Any] = {
    "logger": {"tensorboard": {"_target_": "medimg.training.RunTensorBoard"}},
    "callbacks.figures": {"_target_": "medimg.training.TensorBoardFigures", "augmented_images": 0, "time_share": None},
    "optimizer.lr": 1e-12,  # no epoch is better than the first
    "trainer.max_epochs": 3,
}


def test_epochs_that_are_no_better_are_not_drawn(tmp_path: Path) -> None:
    fit(configured(TENSORBOARD | {"model.batch_norm": False}), tmp_path, train=2)
    found = accumulated(tmp_path)
    assert [image.step for image in found.Images("val/confusion_matrix/counts")] == [1, 5]
    assert "train/augmented_images" not in found.Tags()["images"]


def test_figures_are_left_out_where_they_would_take_too_much_of_the_time(tmp_path: Path) -> None:
    """A training of a second is over before a twentieth of it suffices for a drawing; curves cost nothing.

    The report, which draws the matrices of the best epoch anyway, lends them.
    """
    share = {"callbacks.figures": TENSORBOARD["callbacks.figures"] | {"time_share": 0.05}}
    trainer, _ = fit(configured(TENSORBOARD | share), tmp_path)
    found = accumulated(tmp_path)
    assert not found.Tags()["images"]
    assert any(tag.startswith("val/precision_recall/") for tag in found.Tags()["tensors"])
    pictures = {
        f"val_{name}": np.full((4, 5, 3), 60 * n, np.uint8) for n, name in enumerate(("confusion", "confusion_by_row"))
    }
    log_figures(trainer, pictures | {"test_confusion": np.full((4, 5, 3), 200, np.uint8)}, 1)
    found = accumulated(tmp_path)
    assert [image.step for image in found.Images("val/confusion_matrix/counts")] == [1]
    assert picture(found, "val/confusion_matrix/counts").max() == 0
    assert picture(found, "val/confusion_matrix/by_true_class").min() == 60
    assert picture(found, "test/figures/confusion").min() == 200


def test_without_tensorboard_nothing_is_drawn(tmp_path: Path) -> None:
    fit(configured(TENSORBOARD | {"logger": {}}), tmp_path)
    assert not list(tmp_path.rglob("events*"))


def test_a_resumed_run_knows_what_was_drawn() -> None:
    figures, again = (TensorBoardFigures(0, None, MonitorConfig()) for _ in range(2))
    figures.best, figures.has_best = (0.5, -1.0), True
    again.load_state_dict(figures.state_dict())
    assert (again.best, again.has_best) == ((0.5, -1.0), True)
    again.load_state_dict(TensorBoardFigures(0, None, MonitorConfig()).state_dict())
    assert again.best is None
