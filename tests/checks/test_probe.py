"""The probe: its AUC against scikit-learn, what it finds, and how rarely it finds what is not there."""

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from medimg.checks.association import Units
from medimg.checks.probe import _auc, probe


def test_auc_is_scikit_learns() -> None:
    generator = np.random.default_rng(0)
    labels = generator.integers(0, 3, 90)
    scores = generator.normal(size=(90, 3)).round(1)  # with ties
    targets = np.eye(3)[labels]
    expected = np.mean([roc_auc_score(targets[:, one], scores[:, one]) for one in range(3)])
    assert _auc(scores[None], targets[None])[0] == pytest.approx(expected)


def test_a_planted_difference_is_found() -> None:
    generator = np.random.default_rng(1)
    labels = generator.integers(0, 2, 200)
    features = generator.normal(size=(200, 5))
    features[:, 2] += 3 * labels
    found = probe(features, Units(range(200), labels), 300)
    assert found.value > 0.95
    assert found.p == 1 / 301


def test_noise_is_at_its_level() -> None:
    generator = np.random.default_rng(2)
    p, values = [], []
    for number in range(60):
        labels = generator.integers(0, 2, 60)
        found = probe(generator.normal(size=(60, 4)), Units(range(60), labels), 100, seed=number)
        p.append(found.p)
        values.append(found.value)
    assert np.mean(np.array(p) <= 0.1) == pytest.approx(0.1, abs=0.1)
    assert np.mean(values) == pytest.approx(0.5, abs=0.04)


def test_recognising_patients_is_not_recognising_the_class() -> None:
    """Ten images of each patient, all alike, and no difference between classes."""
    generator = np.random.default_rng(3)
    patients = np.repeat(np.arange(30), 10)
    labels = (np.arange(30) % 2)[patients]
    features = generator.normal(size=(30, 6))[patients] + 0.01 * generator.normal(size=(300, 6))
    assert probe(features, Units(patients, labels), 200).p > 0.02
    assert probe(features, Units(range(300), labels), 200).p < 0.02  # what a split by image would believe
