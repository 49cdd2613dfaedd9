import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from medimg.errors import RequestError
from medimg.evaluation.metrics import classification_metrics
from medimg.evaluation.patients import by_patient
from medimg.evaluation.predictions import Predictions, softmax


def table(patients, labels, logits, classes=("normal", "covid")):
    paths = tuple(f"{number}.png" for number in range(len(patients)))
    return Predictions(paths, tuple(patients), np.array(labels, int), np.array(logits, float), tuple(classes))


def draw(n, k, seed=0, scale=1.0):
    rng = np.random.default_rng(seed)
    patients = [f"p{number:03d}" for number in rng.integers(0, n // 3, n)]
    label = {patient: int(rng.integers(k)) for patient in sorted(set(patients))}
    labels = [label[patient] for patient in patients]
    logits = scale * (rng.normal(size=(n, k)) + np.eye(k)[labels])
    return table(patients, labels, logits, [f"c{number}" for number in range(k)])


@pytest.mark.parametrize("k", [2, 4])
def test_mean_of_probabilities(k):
    images = draw(60, k)
    found = by_patient(images).predictions
    assert found.paths == found.patient_ids == tuple(sorted(set(images.patient_ids)))
    for row, patient in enumerate(found.paths):
        own = np.array([patient == other for other in images.patient_ids])
        assert found.probabilities[row] == pytest.approx(images.probabilities[own].mean(axis=0))
        assert found.labels[row] == images.labels[own][0]


@pytest.mark.parametrize("positive", ["c0", "c1"])
def test_of_two_classes_the_most_positive_image_speaks(positive):
    images = draw(60, 2)
    column = int(positive[1])
    found = by_patient(images, "max", positive).predictions
    for row, patient in enumerate(found.paths):
        own = images.probabilities[[patient == other for other in images.patient_ids]]
        assert found.probabilities[row] == pytest.approx(own[own[:, column].argmax()])
    if positive == "c1":
        assert np.array_equal(by_patient(images, "max").predictions.logits, found.logits)


def test_of_several_classes_each_has_its_maximum():
    images = draw(60, 4)
    found = by_patient(images, "max").predictions
    for row, patient in enumerate(found.paths):
        highest = images.probabilities[[patient == other for other in images.patient_ids]].max(axis=0)
        assert found.probabilities[row] == pytest.approx(highest / highest.sum())


@pytest.mark.parametrize("how", ["mean", "max"])
@pytest.mark.parametrize("k", [2, 3])
def test_sure_models_keep_their_order_and_stay_finite(how, k):
    images = draw(90, k, scale=400)
    found = by_patient(images, how).predictions
    assert np.isfinite(found.logits).all()
    assert len(np.unique(found.logits[:, 0])) > len(found.paths) / 2  # probabilities alone would be 0 and 1
    assert np.exp(found.logits).sum(axis=1) == pytest.approx(1)
    metrics = classification_metrics(found.logits, found.labels, found.classes)
    assert 0 < metrics["auroc"] <= 1


def test_metrics_of_patients_agree_with_sklearn():
    images = draw(120, 2, seed=3)
    found = by_patient(images).predictions
    means = [images.probabilities[[p == q for q in images.patient_ids], 1].mean() for p in found.paths]
    metrics = classification_metrics(found.logits, found.labels, found.classes)
    assert metrics["auroc"] == pytest.approx(roc_auc_score(found.labels, means), abs=1e-6)


def test_what_is_left_out_is_said():
    images = table(["b", None, "a", "b", "c", "a", None], [0, 0, 1, 1, 1, 1, 1], np.arange(14).reshape(7, 2) % 3)
    found = by_patient(images)
    assert found.predictions.paths == ("a", "c")
    assert found.predictions.labels.tolist() == [1, 1]
    assert found.mixed == ("b",)
    assert found.unknown == 2
    expected = softmax(images.logits)[[2, 5]].mean(axis=0)
    assert found.predictions.probabilities[0] == pytest.approx(expected)


@pytest.mark.parametrize("how", ["mean", "max"])
@pytest.mark.parametrize("patients", [[], [None, None], ["a", "a"]])
def test_no_patient_at_all(how, patients):
    labels = list(range(len(patients)))
    found = by_patient(table(patients, labels, np.zeros((len(patients), 2))), how)
    assert found.predictions.paths == ()
    assert found.predictions.logits.shape == (0, 2)
    assert found.mixed == (("a",) if "a" in patients else ())
    assert found.unknown == patients.count(None)


def test_another_way_is_refused():
    with pytest.raises(RequestError, match="'median' are not known; there are: mean, max"):
        by_patient(draw(9, 2), "median")


def test_diverged_logits_stay_undefined():
    images = table(["a", "a", "b"], [1, 1, 0], [[np.nan, 1], [0, 1], [1, 0]])
    found = by_patient(images).predictions
    assert np.isnan(found.logits[0]).all()
    assert np.isfinite(found.logits[1]).all()
