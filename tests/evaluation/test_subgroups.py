import numpy as np
import pytest
from sklearn import metrics as reference

from medimg.evaluation.predictions import Predictions
from medimg.evaluation.subgroups import subgroup_tables


def draw(n, k, seed=0):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, k, n)
    logits = rng.normal(size=(n, k)) + np.eye(k)[labels]
    classes = ("normal", "covid") if k == 2 else tuple(f"c{number}" for number in range(k))
    return Predictions(tuple(f"{i}.png" for i in range(n)), (None,) * n, labels, logits, classes)


def test_metrics_of_each_group_agree_with_sklearn():
    images = draw(200, 2)
    sex = np.random.default_rng(1).choice(["F", "M", ""], 200, p=[0.4, 0.4, 0.2])
    found = subgroup_tables(images, {"sex": sex.tolist()}, np.arange(200))
    assert found.left_out == {}
    assert [row.group for row in found.tables["sex"]] == ["F", "M", "unknown"]
    for row, value in zip(found.tables["sex"], ["F", "M", ""], strict=True):
        own = sex == value
        truth, said = images.labels[own], images.predicted[own]
        assert row.images == row.units == own.sum()
        assert row.class_images == {"normal": (truth == 0).sum(), "covid": (truth == 1).sum()}
        expected = {
            "accuracy": reference.accuracy_score(truth, said),
            "f1_macro": reference.f1_score(truth, said, average="macro"),
            "auroc": reference.roc_auc_score(truth, images.probabilities[own, 1]),
            "sensitivity": reference.recall_score(truth, said),
            "specificity": reference.recall_score(1 - truth, 1 - said),
        }
        assert row.metrics == pytest.approx(expected, abs=1e-6)


def test_the_positive_class_can_be_the_first():
    images = draw(80, 2)
    found = subgroup_tables(images, {"view": ["PA", "AP"] * 40}, np.arange(80), positive="normal")
    truth, said = images.labels[::2], images.predicted[::2]
    assert found.tables["view"][1].metrics["sensitivity"] == pytest.approx(reference.recall_score(1 - truth, 1 - said))


def test_groups_of_few_units_have_counts_only():
    images = draw(100, 3)
    # 20 patients, then many images of 19
    codes = np.where(np.arange(100) < 50, np.arange(100) % 20, 50 + np.arange(100) % 19)
    rows = subgroup_tables(images, {"source": ["A"] * 50 + ["B"] * 50}, codes).tables["source"]
    assert [(row.images, row.units) for row in rows] == [(50, 20), (50, 19)]
    assert set(rows[0].metrics) == {"accuracy", "f1_macro", "auroc"}
    assert rows[0].note is None
    assert rows[1].metrics == {}
    assert rows[1].note == "fewer than 20 patients: counts only"
    assert sum(rows[1].class_images.values()) == 50


def test_absent_classes_are_named():
    images = draw(60, 3)
    source = ["A" if label == 2 else "B" for label in images.labels]
    rows = subgroup_tables(images, {"source": source}, np.arange(60), floor=1).tables["source"]
    assert rows[0].absent == ("c0", "c1")
    assert rows[1].absent == ("c2",)
    assert rows[0].note == "no images of c0, c1, so macro-F1 is not defined"
    own = images.labels == 2
    assert set(images.predicted[own]) == {0, 1, 2}
    expected = reference.accuracy_score(images.labels[own], images.predicted[own])
    assert rows[0].metrics["accuracy"] == pytest.approx(expected, abs=1e-6)
    assert np.isnan(rows[0].metrics["f1_macro"])
    assert np.isnan(rows[0].metrics["auroc"])


def test_notes_name_what_is_counted():
    rows = subgroup_tables(draw(30, 2), {"view": ["PA", "AP"] * 15}, np.arange(30), kind="group").tables["view"]
    assert [row.note for row in rows] == ["fewer than 20 groups: counts only"] * 2


def test_columns_that_make_no_groups_are_left_out_with_the_reason():
    images = draw(30, 2)
    found = subgroup_tables(images, {"file": [f"f{i}" for i in range(30)], "site": ["X"] * 30}, np.arange(30))
    assert found.tables == {}
    assert "of its own" in found.left_out["file"]
    assert "same" in found.left_out["site"]


def test_lengths_that_differ():
    with pytest.raises(ValueError, match="2 values"):
        subgroup_tables(draw(30, 2), {"sex": ["M", "F"]}, np.arange(30))
