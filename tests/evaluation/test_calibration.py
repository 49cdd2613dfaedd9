import math

import numpy as np
import pytest
from scipy.optimize import minimize_scalar
from sklearn import metrics as reference
from sklearn.calibration import calibration_curve

from medimg.evaluation.calibration import (
    brier,
    expected_calibration_error,
    fit_temperature,
    log_loss,
    reliability,
    scaled,
    top_label,
)
from medimg.evaluation.predictions import softmax


def simulate(n, k, seed, temperature=1.0):
    """Labels drawn from the probabilities themselves, and the logits of a model that is off by a temperature."""
    rng = np.random.default_rng(seed)
    honest = rng.normal(scale=2, size=(n, k))
    labels = (rng.random((n, 1)) > np.cumsum(softmax(honest), axis=1)).sum(axis=1)
    return honest * temperature, labels


@pytest.mark.parametrize("bins", [5, 15])
def test_bins_agree_with_sklearn(bins):
    logits, labels = simulate(300, 2, 0, temperature=1.5)
    scores = softmax(logits)[:, 1]
    found = [row for row in reliability(scores, labels == 1, bins) if row.images]
    share, mean = calibration_curve(labels, scores, n_bins=bins)
    assert [row.accuracy for row in found] == pytest.approx(share.tolist())
    assert [row.confidence for row in found] == pytest.approx(mean.tolist())
    assert sum(row.images for row in found) == 300


def test_borders_belong_to_the_lower_bin_and_empty_bins_are_there():
    rows = reliability(np.array([0.0, 0.5, 0.51]), np.array([True, False, True]), bins=4)
    assert [(row.lower, row.upper, row.images) for row in rows] == [
        (0, 0.25, 1),
        (0.25, 0.5, 1),
        (0.5, 0.75, 1),
        (0.75, 1, 0),
    ]
    assert math.isnan(rows[3].confidence)
    assert math.isnan(rows[3].accuracy)


def test_calibration_error_by_hand():
    probabilities = np.array([[0.9, 0.1], [0.8, 0.2], [0.3, 0.7], [0.35, 0.65]])
    labels = np.array([0, 1, 1, 0])
    # bins of one half: all four confidences (0.9, 0.8, 0.7, 0.65) in the upper one, two of four right
    assert expected_calibration_error(probabilities, labels, bins=2) == pytest.approx(3.05 / 4 - 0.5)
    # (0.6, 0.8]: 0.8, 0.7, 0.65 with one right; (0.8, 1]: 0.9, right
    expected = 3 / 4 * (2.15 / 3 - 1 / 3) + 1 / 4 * 0.1
    assert expected_calibration_error(probabilities, labels, bins=5) == pytest.approx(expected)


def test_calibration_error_is_small_for_honest_probabilities_only():
    honest, labels = simulate(20_000, 3, 1)
    assert expected_calibration_error(softmax(honest), labels) < 0.02
    assert expected_calibration_error(softmax(3 * honest), labels) > 0.08


@pytest.mark.parametrize("k", [2, 4])
def test_brier_and_log_loss_agree_with_sklearn(k):
    logits, labels = simulate(200, k, 2)
    probabilities = softmax(logits)
    classes = list(range(k))
    assert log_loss(logits, labels) == pytest.approx(reference.log_loss(labels, probabilities, labels=classes))
    by_hand = np.mean([(probabilities[i, j] - (labels[i] == j)) ** 2 for i in range(200) for j in classes]) * k
    assert brier(probabilities, labels) == pytest.approx(by_hand)
    if k == 2:
        one_sided = reference.brier_score_loss(labels, probabilities[:, 1])
        assert brier(probabilities, labels) == pytest.approx(2 * one_sided)


def test_log_loss_of_a_model_that_is_certain_and_wrong():
    assert log_loss(np.array([[2000.0, 0.0]]), np.array([1])) == pytest.approx(2000)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.5])
def test_a_known_temperature_is_found(temperature):
    logits, labels = simulate(20_000, 3, 3, temperature)
    assert fit_temperature(logits.astype(np.float32), labels) == pytest.approx(temperature, rel=0.05)


def test_the_temperature_has_the_lowest_loss():
    logits, labels = simulate(150, 4, 4, temperature=4)
    found = fit_temperature(logits, labels)
    best = minimize_scalar(lambda t: log_loss(logits / t, labels), bounds=(0.1, 20), method="bounded")
    assert found == pytest.approx(best.x, rel=1e-3)
    assert log_loss(scaled(logits, found), labels) < log_loss(logits, labels)
    held_out, truth = simulate(5000, 4, 5, temperature=4)
    before, after = (expected_calibration_error(softmax(each), truth) for each in (held_out, scaled(held_out, found)))
    assert after < before / 2


@pytest.mark.parametrize(
    ("logits", "labels"),
    [
        ([[2.0, 0.0], [0.0, 1.0]], [0, 1]),  # no error: the surer, the better
        ([[2.0, 0.0], [0.0, 1.0]], [1, 0]),  # nothing but errors
        ([[1.0, 1.0], [0.0, 0.0]], [1, 0]),  # nothing said
        ([[np.nan, 1.0], [0.0, 0.5]], [1, 0]),
        (np.empty((0, 2)), []),
    ],
)
def test_where_no_temperature_is_best(logits, labels):
    assert math.isnan(fit_temperature(np.array(logits), np.array(labels, dtype=int)))


def test_large_logits_do_not_overflow():
    logits, labels = simulate(2000, 3, 6)
    assert fit_temperature(logits * 900, labels) == pytest.approx(900 * fit_temperature(logits, labels), rel=1e-3)


def test_without_images():
    nothing, labels = np.empty((0, 3)), np.empty(0, int)
    assert math.isnan(expected_calibration_error(nothing, labels))
    assert math.isnan(brier(nothing, labels))
    assert math.isnan(log_loss(nothing, labels))
    assert [len(part) for part in top_label(nothing, labels)] == [0, 0]


def test_diverged_logits_are_not_defined():
    logits, labels = np.array([[np.nan, 1.0], [0.0, 0.5]]), np.array([1, 0])
    assert math.isnan(log_loss(logits, labels))
    assert math.isnan(expected_calibration_error(softmax(logits), labels))
    assert reliability(*top_label(softmax(logits), labels)) == []


@pytest.mark.parametrize("temperature", [0.0, -1.0, math.nan, math.inf])
def test_temperatures_that_make_no_sense(temperature):
    with pytest.raises(ValueError, match="positive"):
        scaled(np.zeros((1, 2)), temperature)
