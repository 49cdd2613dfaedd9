"""What averaging has gained is measured on the same images, against the member that validation chose."""

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from ensemble_runs import member
from sklearn.metrics import accuracy_score, f1_score, roc_auc_score

from medimg.evaluation.predictions import Predictions
from medimg.evaluation.sample import Sample
from medimg.inference.ensemble import Scored
from medimg.inference.gains import best_member, gains
from medimg.inference.members import MemberRun
from medimg.runs import RunFolder

LABELS = np.array([0, 1] * 20)


def valued(
    name: str, value: float | None, loss: float = 0.5, metric: str = "val/f1_macro", mode: str = "max"
) -> MemberRun:
    made = member(name, test="a")
    return MemberRun(replace(made.run, value=value, loss=loss, metric=metric, mode=mode), made.manifest)


def table(noise: float, seed: int, rows: int = 40) -> Predictions:
    scores = (LABELS - 0.5) + np.random.default_rng(seed).normal(0, noise, 40)
    logits = np.stack([np.zeros(40), scores], axis=1)[:rows]
    return Predictions(tuple(f"{row:02d}" for row in range(rows)), (None,) * rows, LABELS[:rows], logits, ("x", "y"))


def scored(place: Path, tables: list[tuple[MemberRun, Predictions]]) -> Scored:
    members = tuple(one for one, _ in tables)
    sample = Sample(table(0.1, 9), positive="y")
    by_folder = {one.folder.path: found for one, found in tables}
    return Scored(members, RunFolder(place), RunFolder(place), "test", {}, sample, by_folder)


def test_the_best_member_is_the_best_on_validation() -> None:
    assert best_member((valued("a", 0.6), valued("b", 0.8), valued("c", 0.7))).folder.path.name == "b"  # type: ignore[union-attr]
    tied = (valued("a", 0.8, loss=0.4), valued("b", 0.8, loss=0.3))
    assert best_member(tied).folder.path.name == "b"  # type: ignore[union-attr]
    lower = (valued("a", 0.2, mode="min"), valued("b", 0.8, mode="min"))
    assert best_member(lower).folder.path.name == "a"  # type: ignore[union-attr]
    assert best_member((valued("a", 0.2), valued("b", 0.8, metric="val/accuracy"))) is None
    assert best_member((valued("a", 0.2), valued("b", None))) is None


def test_scores_mean_and_differences(tmp_path: Path) -> None:
    tables = [(valued("a", 0.6), table(0.6, 0)), (valued("b", 0.8), table(0.9, 1))]  # on test, b is the worse one
    found = gains(scored(tmp_path, tables), resamples=100)
    expected = [
        {
            "f1_macro": f1_score(LABELS, one.logits.argmax(axis=1), average="macro"),
            "accuracy": accuracy_score(LABELS, one.logits.argmax(axis=1)),
            "auroc": roc_auc_score(LABELS, one.logits[:, 1]),
        }
        for _, one in tables
    ]
    for name in ("f1_macro", "accuracy", "auroc"):
        assert [one[name] for one in found.scores.values()] == pytest.approx([one[name] for one in expected])
        assert found.mean[name] == pytest.approx((expected[0][name] + expected[1][name]) / 2)
    assert found.best is not None
    assert found.best.folder.path.name == "b"
    assert expected[0]["accuracy"] > expected[1]["accuracy"]
    assert [one.metric for one in found.comparisons] == ["f1_macro", "accuracy", "auroc"]
    for one in found.comparisons:  # the ensemble of this test knows all
        assert (one.a, one.b) == pytest.approx((1.0, expected[1][one.metric]))
        assert one.difference == pytest.approx(1 - expected[1][one.metric])
        assert not math.isnan(one.p_value)
    written = json.loads((tmp_path / "comparisons" / "members-test.json").read_text())
    assert written["best"] == "/runs/b"
    assert written["members"][0]["accuracy"] == pytest.approx(expected[0]["accuracy"])
    assert written["comparisons"][2]["difference"] == pytest.approx(1 - expected[1]["auroc"])


def test_members_on_other_images_are_not_compared(tmp_path: Path) -> None:
    tables = [(valued("a", 0.6), table(0.6, 0, rows=20)), (valued("b", 0.8), table(0.9, 1))]
    found = gains(scored(tmp_path, tables), resamples=10)
    assert not found.mean
    assert not found.comparisons
    assert len(found.scores) == 2
