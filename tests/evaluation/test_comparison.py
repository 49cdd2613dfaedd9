import itertools
import math
from dataclasses import replace

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, f1_score, roc_auc_score

from medimg.errors import RequestError
from medimg.evaluation.comparison import compare
from medimg.evaluation.metrics import all_metrics, metric_names
from medimg.evaluation.predictions import Predictions
from medimg.evaluation.units import units_of


def pair(units, seed=0, gains=(2.0, 1.0), images=2):
    """Two runs on the same images, whose patients have an effect that both runs share; and the patients."""
    rng = np.random.default_rng(seed)
    label = np.arange(units) % 2
    codes = np.repeat(np.arange(units), images)
    shared = rng.normal(size=units)[codes] * 0.7
    paths = tuple(f"{number:04d}.png" for number in range(len(codes)))
    runs = []
    for gain in gains:
        odds = gain * (label[codes] - 0.5) + shared + rng.normal(size=len(codes))
        logits = np.stack([-odds / 2, odds / 2], axis=1)
        runs.append(Predictions(paths, tuple(f"p{code}" for code in codes), label[codes], logits, ("n", "p")))
    return *runs, units_of([f"p{code}" for code in codes])


def test_values_agree_with_sklearn():
    a, b, units = pair(60)
    found = compare(a, b, units, resamples=50)
    assert found.a == pytest.approx(f1_score(a.labels, a.predicted, average="macro"))
    assert found.b == pytest.approx(f1_score(b.labels, b.predicted, average="macro"))
    assert found.difference == pytest.approx(found.a - found.b)
    assert (found.units, found.images, found.metric) == (60, 120, "f1_macro")
    auroc = compare(a, b, units, "auroc", resamples=50)
    assert auroc.a == pytest.approx(roc_auc_score(a.labels, a.logits[:, 1]))


@pytest.mark.parametrize("metric", metric_names(("n", "p")))
def test_every_metric_can_be_compared(metric):
    a, b, units = pair(40, seed=11)
    found = compare(a, b, units, metric, positive="n", resamples=200)
    expected = [all_metrics(run.logits, run.labels, run.classes, "n")[metric] for run in (a, b)]
    assert [found.a, found.b] == pytest.approx(expected, abs=1e-6)
    assert found.ci95[0] < found.difference < found.ci95[1]
    assert 0 < found.p_value < 1


def test_a_class_that_one_unit_shares_may_be_lost_in_a_resample():
    """Units are of the class that most of their images have, so nothing keeps the few of another one."""
    rng = np.random.default_rng(0)
    codes = np.repeat(np.arange(20), 3)
    labels = codes % 2
    labels[0] = 2
    paths = tuple(f"{row}.png" for row in range(60))
    a, b = (Predictions(paths, paths, labels, rng.normal(size=(60, 3)), ("a", "b", "c")) for _ in range(2))
    units = units_of([str(code) for code in codes])
    found = compare(a, b, units, "auroc", resamples=300)
    assert "not defined in" in found.caution
    assert not math.isnan(found.ci95[0])


def test_an_unknown_metric_is_answered_with_the_nearest():
    with pytest.raises(RequestError, match="Did you mean 'f1_macro'"):
        compare(*pair(10), "f1macro")


def by_loop(a, b, codes, resamples, score):
    """The paired bootstrap as one would write it at first, with draws of its own."""
    rng = np.random.default_rng(99)
    label = {code: a.labels[codes == code][0] for code in np.unique(codes)}
    rows = {code: np.flatnonzero(codes == code) for code in label}
    draws = []
    for _ in range(resamples):
        drawn = [
            rng.choice([c for c in label if label[c] == side], sum(v == side for v in label.values()))
            for side in (0, 1)
        ]
        own = np.concatenate([rows[code] for code in np.concatenate(drawn)])
        draws.append(score(a, own) - score(b, own))
    return np.quantile(draws, [0.025, 0.975])


@pytest.mark.parametrize("metric", ["f1_macro", "auroc"])
def test_interval_agrees_with_a_plain_loop(metric):
    a, b, units = pair(40, seed=1)

    def score(run, own):
        if metric == "auroc":
            return roc_auc_score(run.labels[own], run.logits[own, 1])
        return f1_score(run.labels[own], run.predicted[own], average="macro")

    expected = by_loop(a, b, units.codes, 400, score)
    found = compare(a, b, units, metric, resamples=3000)
    width = expected[1] - expected[0]
    assert found.ci95 == pytest.approx(expected.tolist(), abs=0.12 * width)


def test_p_value_agrees_with_all_swaps_there_are():
    a, b, units = pair(10, seed=2, gains=(4.0, 0.0))
    observed = abs(accuracy_score(a.labels, a.predicted) - accuracy_score(b.labels, b.predicted))
    extreme = 0
    for swap in itertools.product([False, True], repeat=10):
        other = np.array(swap)[units.codes]
        one, two = np.where(other, b.predicted, a.predicted), np.where(other, a.predicted, b.predicted)
        extreme += abs(accuracy_score(a.labels, one) - accuracy_score(a.labels, two)) >= observed - 1e-12
    assert 0.01 < extreme / 1024 < 0.5
    found = compare(a, b, units, "accuracy", resamples=20_000)
    assert found.p_value == pytest.approx(extreme / 1024, abs=0.012)


@pytest.mark.parametrize("metric", ["f1_macro", "auroc"])
def test_runs_that_are_equally_good_are_seldom_called_different(metric):
    found = [compare(*pair(24, seed=seed, gains=(1.5, 1.5)), metric, resamples=199) for seed in range(200)]
    p_values = np.array([each.p_value for each in found])
    assert (p_values <= 0.05).mean() <= 0.09  # 200 trials at 5 %: above this once in about 100 times
    assert (p_values <= 0.5).mean() > 0.3  # and no test that never rejects
    covered = [each.ci95[0] <= 0 <= each.ci95[1] for each in found]
    assert np.mean(covered) > 0.86


def test_runs_that_differ_are_told_apart():
    found = compare(*pair(150, seed=3, gains=(4.0, 0.5)), resamples=499)
    assert found.ci95[0] > 0
    assert found.p_value == 1 / 500
    assert found.caution is None


def test_a_run_that_is_surer_or_leans_to_one_side_is_no_other_one_to_the_auroc():
    a, b, units = pair(60, seed=4)
    leaning = replace(b, logits=b.logits * 50 + [0, 200])
    assert compare(a, leaning, units, "auroc", resamples=99) == compare(a, b, units, "auroc", resamples=99)
    nothing = compare(a, replace(a, logits=a.logits * 50 + [0, 200]), units, "auroc", resamples=99)
    assert (nothing.difference, nothing.p_value) == (0, 1)


def test_units_count_and_not_images():
    a, b, units = pair(30, seed=5, images=8)
    images = units_of([None] * len(a.paths))
    by_unit, by_image = (compare(a, b, each, "accuracy", resamples=800) for each in (units, images))
    assert np.ptp(by_unit.ci95) > 1.05 * np.ptp(by_image.ci95)
    assert (by_unit.units, by_image.units) == (30, 240)


def test_no_resample_loses_a_rare_class():
    a, b, units = pair(60, seed=10)
    rare = np.where(units.codes < 2, 1, 0)  # two patients, one of them with an image of the other class
    rare[0] = 0
    a, b = (replace(run, labels=rare) for run in (a, b))
    found = compare(a, b, units, "sensitivity/p", resamples=500)
    assert not math.isnan(found.ci95[0])
    assert "smallest class has 2 units" in found.caution


def test_rows_and_classes_in_another_order_are_the_same_run():
    a, b, units = pair(40, seed=6)
    turned = np.random.default_rng(0).permutation(len(b.paths))
    other = Predictions(
        paths=tuple(b.paths[row] for row in turned),
        patient_ids=tuple(b.patient_ids[row] for row in turned),
        labels=1 - b.labels[turned],
        logits=b.logits[turned][:, ::-1],
        classes=("p", "n"),
    )
    assert compare(a, other, units, "f1/p", resamples=99) == compare(a, b, units, "f1/p", resamples=99)


def test_memory_at_a_time_changes_nothing(monkeypatch):
    a, b, units = pair(40, seed=7)
    whole = compare(a, b, units, resamples=300)
    monkeypatch.setattr("medimg.evaluation.resampling._CELLS", 1000)
    assert compare(a, b, units, resamples=300) == whole


def test_the_seed_decides():
    a, b, units = pair(40, seed=8)
    first, again, other = (compare(a, b, units, resamples=99, seed=seed) for seed in (0, 0, 1))
    assert first == again
    assert first.ci95 != other.ci95


def test_what_cannot_be_relied_on_is_said():
    a, b, units = pair(120, seed=9)
    same = compare(a, a, units, resamples=50)
    assert same.ci95 == (0, 0)
    assert "same in every resample" in same.caution
    assert same.p_value == 1
    few = compare(*pair(20, seed=9), resamples=50)
    assert "smallest class has 10 units" in few.caution
    one_class = replace(a, labels=np.zeros_like(a.labels)), replace(b, labels=np.zeros_like(b.labels))
    nothing = compare(*one_class, units, "auroc", resamples=50)
    assert math.isnan(nothing.difference)
    assert math.isnan(nothing.p_value)
    assert math.isnan(nothing.ci95[0])
    assert "not defined in 50 of 50" in nothing.caution


def without_first(run):
    return Predictions(run.paths[1:], run.patient_ids[1:], run.labels[1:], run.logits[1:], run.classes)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (without_first, "1 images are in the first run only: '0000.png'"),
        (lambda b: replace(b, paths=("new.png", *b.paths[1:])), "first run only: '0000.png'"),
        (lambda b: replace(b, labels=np.array([1, *b.labels[1:]])), "another label in each run: '0000.png'"),
        (lambda b: replace(b, classes=("n", "q")), "different classes cannot be compared: n, p; and n, q"),
        (lambda b: replace(b, paths=(b.paths[1], *b.paths[1:])), "second run has several predictions"),
        (lambda b: replace(b, logits=np.full_like(b.logits, np.nan)), "80 predictions of the second"),
    ],
)
def test_runs_that_cannot_be_compared(change, message):
    a, b, units = pair(40)
    with pytest.raises(RequestError, match=message):
        compare(a, change(b), units)


def test_images_of_the_second_run_only():
    a, b, _ = pair(40)
    with pytest.raises(RequestError, match="1 images are in the second run only: '0000"):
        compare(without_first(a), b, units_of(a.patient_ids[1:]))


def test_no_images():
    nothing = Predictions((), (), np.empty(0, int), np.empty((0, 2)), ("n", "p"))
    with pytest.raises(RequestError, match="no images"):
        compare(nothing, nothing, units_of([]))
