import numpy as np
import pytest
from scipy.stats import binomtest
from sklearn.metrics import f1_score, recall_score, roc_auc_score

from medimg.evaluation.intervals import intervals
from medimg.evaluation.metrics import all_metrics, metric_names
from medimg.evaluation.units import units_of

TWO = ("normal", "covid")


def draw(patients, correlation=0.5, shift=1.5, seed=0, images=(1, 5), k=2):
    """As many patients of each class, whose images have something in common."""
    rng = np.random.default_rng(seed)
    codes = np.repeat(np.arange(k * patients), rng.integers(*images, k * patients))
    labels = codes % k
    own, noise = rng.normal(size=(k * patients, k))[codes], rng.normal(size=(len(codes), k))
    logits = np.sqrt(correlation) * own + np.sqrt(1 - correlation) * noise
    logits[np.arange(len(codes)), labels] += shift
    return logits, labels, units_of([f"p{code}" for code in codes])


def brute_force(metric, logits, labels, units, resamples=300, seed=9):
    """The standard error by a plain bootstrap of patients within classes, rows copied."""
    rng = np.random.default_rng(seed)
    rows = [np.flatnonzero(units.codes == code) for code in range(units.number)]
    strata = [[own for own in rows if labels[own[0]] == number] for number in np.unique(labels)]
    found = []
    for _ in range(resamples):
        chosen = [own[pick] for own in strata for pick in rng.integers(0, len(own), len(own))]
        taken = np.concatenate(chosen)
        found.append(metric(labels[taken], logits[taken]))
    return np.std(found)


METRICS = {
    "f1_macro": lambda labels, logits: f1_score(labels, logits.argmax(1), average="macro"),
    "sensitivity/covid": lambda labels, logits: recall_score(labels, logits.argmax(1)),
    "auroc": lambda labels, logits: roc_auc_score(labels, logits[:, 1] - logits[:, 0]),
}


def test_widths_are_those_of_a_plain_bootstrap():
    logits, labels, units = draw(120)
    found = intervals(logits, labels, TWO, "covid", units)
    for name, metric in METRICS.items():
        low, high = found.ci[name]
        assert (high - low) / 2 / 1.98 == pytest.approx(brute_force(metric, logits, labels, units), rel=0.15), name


def test_every_metric_has_an_interval_around_it():
    logits, labels, units = draw(120, k=3)
    found = intervals(logits, labels, "abc", None, units)
    values = all_metrics(logits, labels, "abc")
    assert list(found.ci) == metric_names("abc")
    assert all(found.ci[metric][0] < value < found.ci[metric][1] for metric, value in values.items())
    assert found.flags == {}
    assert (found.unit, found.units) == ("patient", 360)


def test_the_seed_decides_and_nothing_else():
    logits, labels, units = draw(30)
    np.random.seed(1)
    one = intervals(logits, labels, TWO, None, units, resamples=100)
    np.random.seed(2)
    assert intervals(logits, labels, TWO, None, units, resamples=100) == one
    assert intervals(logits, labels, TWO, None, units, resamples=100, seed=1).ci != one.ci


def test_a_lower_level_is_narrower():
    logits, labels, units = draw(120)
    wide, narrow = (intervals(logits, labels, TWO, None, units, level=level).ci for level in (0.95, 0.5))
    assert all(wide[name][0] < narrow[name][0] < narrow[name][1] < wide[name][1] for name in wide)


def test_single_images_without_correlation_have_wilsons_interval():
    logits, labels, _ = draw(1000, images=(1, 2))
    found = intervals(logits, labels, TWO, None, units_of([None] * len(labels)), resamples=4000)
    hits = int((logits.argmax(1) == labels)[labels == 1].sum())
    expected = binomtest(hits, 1000).proportion_ci(0.95, "wilson")
    assert found.unit == "image"
    assert found.ci["sensitivity/covid"] == pytest.approx((expected.low, expected.high), abs=0.002)


def test_copies_of_images_do_not_make_it_surer():
    logits, labels, units = draw(150)
    once = intervals(logits, labels, TWO, None, units)
    rows = np.repeat(np.arange(len(labels)), 4)
    four = intervals(logits[rows], labels[rows], TWO, None, units_of([f"p{code}" for code in units.codes[rows]]))
    assert four.ci["accuracy"] == pytest.approx(once.ci["accuracy"], abs=1e-6)
    images = intervals(logits[rows], labels[rows], TWO, None, units_of([None] * len(rows)))
    width, too_narrow = (ci["accuracy"][1] - ci["accuracy"][0] for ci in (four.ci, images.ci))
    assert too_narrow < 0.6 * width


def test_without_errors_each_patient_counts_once():
    labels = np.repeat([0, 1], [300, 160])
    units = units_of([f"p{row // 4}" for row in range(460)])
    found = intervals(np.eye(2)[labels] * 9, labels, TWO, "covid", units)
    expected = binomtest(40, 40).proportion_ci(0.95, "wilson")
    for metric in ("sensitivity/covid", "auroc", "average_precision", "f1_macro"):
        assert found.ci[metric] == pytest.approx((expected.low, 1.0)), metric
        assert (
            found.flags[metric]
            == "no errors, so each of 40 patients with covid counts once; few (100 or more are safe)"
        )
    assert found.ci["specificity/covid"][0] == pytest.approx(binomtest(75, 75).proportion_ci(0.95, "wilson").low)
    assert found.ci["accuracy"][0] == pytest.approx(binomtest(115, 115).proportion_ci(0.95, "wilson").low)
    assert found.ci["mcc"] == pytest.approx((2 * expected.low - 1, 1.0))


def test_fewer_patients_than_the_floor_are_said():
    logits, labels, units = draw(60)
    found = intervals(logits, labels, TWO, None, units, resamples=100)
    assert found.flags["sensitivity/covid"] == "few: 60 patients with covid (100 or more are safe)"
    assert "(100 or more are safe)" in found.flags["auroc"]
    assert "few: 120 patients (200 or more are safe)" in found.flags["accuracy"]


def test_a_few_patients_that_make_up_the_width_are_said():
    """One patient with a hundred images, all wrong, among patients without errors."""
    codes = np.concatenate([np.arange(400), np.full(100, 400)])
    labels = np.concatenate([np.arange(400) % 2, np.ones(100, dtype=int)])
    logits = np.eye(2)[np.where(codes == 400, 0, labels)]
    found = intervals(logits, labels, TWO, None, units_of([str(code) for code in codes]))
    assert found.flags["sensitivity/covid"] == "hangs on very few of 201 patients with covid"
    low, high = found.ci["sensitivity/covid"]
    assert high - low > 0.5
    assert "no errors" in found.flags["specificity/covid"]


def test_an_absent_class_is_named_and_has_no_interval():
    logits, labels, units = draw(150)
    found = intervals(np.column_stack([logits, logits[:, 0] - 9]), labels, (*TWO, "ILD"), None, units)
    assert "sensitivity/ILD" not in found.ci
    assert "not defined" in found.flags["sensitivity/ILD"]
    assert found.flags["f1_macro"] == ("there are no images of ILD: not averaged, or as 0 where it is predicted")
    assert "accuracy" not in found.flags


def test_a_class_of_one_patient_has_no_interval():
    codes = np.array([0, 0, 1, 2, 2, 3, 4, 4])
    labels = np.array([1, 1, 0, 0, 0, 0, 0, 0])
    logits = np.random.default_rng(0).normal(size=(8, 2))
    found = intervals(logits, labels, TWO, None, units_of([str(code) for code in codes]), resamples=100)
    assert "rest on 1 patient with covid" in found.flags["sensitivity/covid"]
    assert {"sensitivity/covid", "f1_macro", "auroc"}.isdisjoint(found.ci)
    assert "specificity/covid" in found.ci


@pytest.mark.parametrize(("rows", "why"), [(0, "no images"), (20, "not finite")])
def test_nothing_is_given_where_nothing_is_defined(rows, why):
    logits = np.full((rows, 2), np.nan)
    found = intervals(logits, np.arange(rows) % 2, TWO, None, units_of([None] * rows))
    assert found.ci == {}
    assert all(why in reason for reason in found.flags.values())
    assert list(found.flags) == metric_names(TWO)


def test_units_of_other_rows_are_refused():
    logits, labels, _ = draw(10)
    with pytest.raises(ValueError, match="unit codes"):
        intervals(logits, labels, TWO, None, units_of(["a"]))


def test_one_resample_is_refused():
    logits, labels, units = draw(10)
    with pytest.raises(ValueError, match="resamples=1"):
        intervals(logits, labels, TWO, None, units, resamples=1)


def test_coverage_with_patients_and_without():
    """The 95 % intervals of 200 small data sets hold the truth nearly always, those by image do not."""
    from scipy.stats import norm

    share = norm.cdf(1.5 / np.sqrt(2))
    truth = {"accuracy": share, "auroc": norm.cdf(1.5), "sensitivity/covid": share}
    held: dict[tuple[str, str], int] = {}
    for seed in range(200):
        logits, labels, patients = draw(100, correlation=0.6, seed=seed, images=(1, 7))
        for units in (patients, units_of([None] * len(labels))):
            found = intervals(logits, labels, TWO, "covid", units, resamples=100, seed=seed)
            for metric, value in truth.items():
                low, high = found.ci[metric]
                held[metric, units.kind] = held.get((metric, units.kind), 0) + (low <= value <= high)
    for metric in truth:
        assert held[metric, "patient"] >= 180, metric  # 190 expected; 180 is three standard errors off
        assert held[metric, "image"] < held[metric, "patient"] - 5, metric
