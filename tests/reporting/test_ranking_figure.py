"""The picture of the ranking is drawn for any board, and shows its runs where they belong."""

from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from handmade_runs import write_run
from PIL import Image

from medimg.reporting.ranking_figure import _MEAN, _RUN, _label, _sides, ranking_figure
from medimg.runs.leaderboard import leaderboard
from medimg.runs.records import find_runs

pytestmark = pytest.mark.filterwarnings("error")


def picture(home: Path) -> np.ndarray:
    return np.asarray(Image.open(BytesIO(ranking_figure(leaderboard(find_runs([home]))))).convert("RGB")).astype(int)


def spots(pixels: np.ndarray, colour: str) -> list[tuple[float, float]]:
    """The middle of each group of rows that have this colour: (row, column)."""
    wanted = np.array([int(colour[start : start + 2], 16) for start in (1, 3, 5)])
    found = np.argwhere(np.abs(pixels - wanted).max(axis=-1) < 30)
    groups = np.split(found, np.flatnonzero(np.diff(found[:, 0]) > 3) + 1)
    return [tuple(group.mean(axis=0)) for group in groups if len(group)]


def test_the_best_is_on_top_and_more_is_to_the_right(tmp_path: Path) -> None:
    for number, value in enumerate((0.2, 0.9, 0.6)):
        write_run(tmp_path / str(number), f"optimizer.lr={number + 1}", value=value)
    (_, first), (_, second), (_, third) = spots(picture(tmp_path), _RUN)
    assert first > second > third
    assert (first - second) / (second - third) == pytest.approx(0.3 / 0.4, abs=0.02)


def test_a_mean_of_runs_is_not_named_after_one_of_them(tmp_path: Path) -> None:
    for seed in (0, 1):
        write_run(tmp_path / f"job_{seed}", f"seed={seed}", value=0.5)
    (entry,) = leaderboard(find_runs([tmp_path])).sections[0].entries
    assert _label(entry, []) == "2 runs"


def test_bars_end_at_a_perfect_score_and_labels_are_whole(tmp_path: Path) -> None:
    for number, value in enumerate((1.0, 0.9)):
        for model in ("small_cnn", "quickstart_cnn"):
            given = [f"model={model}", f"seed={number}", "augment={rotate:3,noise:0.5}"]
            write_run(tmp_path / f"{model}{number}", *given, f"optimizer.weight_decay=0.{len(model)}", value=value)
    found = leaderboard(find_runs([tmp_path]))
    (entry, _) = found.sections[0].entries
    left, right = _sides(entry, "max") or ([], [])
    assert (left, right) == (pytest.approx([np.std([1, 0.9], ddof=1)]), pytest.approx([0.05]))
    label = _label(entry, found.columns * 2)
    assert max(map(len, label.split("\n"))) <= 60
    assert " ".join(label.split()).count("rotate=3.0 noise=0.5") == 2


def test_less_is_on_top_where_less_is_better(tmp_path: Path) -> None:
    for number, loss in enumerate((0.2, 0.9, 0.6)):
        overrides = ["monitor.metric=val/loss", "monitor.mode=min", f"optimizer.lr={number + 1}"]
        write_run(tmp_path / str(number), *overrides, epochs=[(None, loss)])
    (_, first), (_, second), (_, third) = spots(picture(tmp_path), _RUN)
    assert first < second < third


def test_mean_and_spread_are_drawn_where_there_are_several_runs(tmp_path: Path) -> None:
    write_run(tmp_path / "0", value=0.2)
    assert spots(picture(tmp_path), _MEAN) == []
    write_run(tmp_path / "1", "seed=1", value=0.4)
    (mean,) = spots(picture(tmp_path), _MEAN)
    (runs,) = spots(picture(tmp_path), _RUN)
    assert mean == pytest.approx(runs, abs=3)  # the mean of two is in their middle


def test_long_rankings_say_what_is_left_out(tmp_path: Path) -> None:
    for number in range(33):
        write_run(tmp_path / str(number), f"optimizer.lr={number + 1}", value=number / 100)
    assert len(spots(picture(tmp_path), _RUN)) == 30


def test_names_that_are_long_or_look_like_formulas_leave_room_for_the_ranking(tmp_path: Path) -> None:
    for number, name in enumerate(("$x_{", "a" * 300, "\\frac $ $", "ü|*")):
        write_run(tmp_path / str(number), "model=resnet18", value=number / 10, config={"model.weights": name})
    pixels = picture(tmp_path)
    columns = [column for _, column in spots(pixels, _RUN)]
    assert len(columns) == 4
    assert columns[0] - columns[3] > 0.3 * pixels.shape[1]


def test_each_table_has_a_panel_up_to_four(tmp_path: Path) -> None:
    for number in range(6):
        write_run(tmp_path / str(number), value=0.5, data_fingerprint=str(number), images_fingerprint=str(number))
    assert len(spots(picture(tmp_path), _RUN)) == 4
