"""Cramér's V against scipy and the published formula, and permutations that know of patients."""

import numpy as np
import pytest
from scipy.stats import chi2_contingency

from medimg.checks.association import Units, association, cramers_v, levels


def published(table: np.ndarray) -> float:
    """Bergsma (2013), equations of the bias correction, on scipy's chi-square."""
    n, (r, c) = table.sum(), table.shape
    phi2 = max(0.0, chi2_contingency(table, correction=False).statistic / n - (r - 1) * (c - 1) / (n - 1))
    rows, columns = r - (r - 1) ** 2 / (n - 1), c - (c - 1) ** 2 / (n - 1)
    return float(np.sqrt(phi2 / min(rows - 1, columns - 1)))


@pytest.mark.parametrize("shape", [(2, 2), (2, 5), (4, 3)])
def test_v_is_the_published_one(shape: tuple[int, int]) -> None:
    generator = np.random.default_rng(0)
    tables = generator.integers(1, 40, (20, *shape)).astype(float)
    assert cramers_v(tables) == pytest.approx([published(table) for table in tables])


def test_v_at_its_ends() -> None:
    full = np.diag([30.0, 20.0])
    with_empty = np.pad(full, ((0, 1), (0, 2)))
    assert cramers_v(full) == pytest.approx(1, abs=0.02)
    assert cramers_v(with_empty) == pytest.approx(cramers_v(full))
    assert cramers_v(np.array([[10.0, 20.0]])) == 0
    assert cramers_v(np.full((2, 2), 25.0)) == 0


def test_levels() -> None:
    assert len(set(levels(["PA", "AP", "PA", None]))) == 3
    ages = levels([str(age) for age in range(100)] + [None])
    assert len(set(ages)) == 6  # five bins and the missing one
    assert np.bincount(ages[:-1]).tolist() == [20] * 5
    assert len(set(levels([f"name {number}" for number in range(100)]))) == 21


def test_a_planted_column_is_sure_and_noise_is_not() -> None:
    generator = np.random.default_rng(1)
    labels = generator.integers(0, 2, 300)
    units = Units(range(300), labels)
    assert association(labels, units, 500).p == 1 / 501
    p = [association(generator.integers(0, 3, 300), units, 200).p for _ in range(100)]
    assert np.mean(np.array(p) <= 0.1) == pytest.approx(0.1, abs=0.08)


def test_many_images_of_few_patients_prove_nothing() -> None:
    """Six patients with a hospital each: image by image it would be beyond doubt."""
    patients = np.repeat(np.arange(6), 100)
    labels = patients % 2
    hospital = np.where(patients == 0, 1, 0)
    by_patient = association(hospital, Units(patients, labels), 500)
    by_image = association(hospital, Units(range(600), labels), 500)
    assert by_image.p < 0.01
    assert by_patient.p > 0.2


def test_numbers_that_are_codes_are_no_quantity() -> None:
    """Odd sites of one class, even ones of the other: as text and as numbers the same."""
    sites = [str(1 + image % 30) for image in range(600)]
    assert len(set(levels(sites).tolist())) == 30
    assert len(set(levels([f"{number / 7:.3f}" for number in range(600)]).tolist())) == 5  # measured, not counted


def test_words_for_nothing_do_not_make_a_column_text() -> None:
    ages = [f"{20 + number / 7:.2f}" for number in range(200)]
    found = levels(["NA", None, "unknown", *ages])
    assert len(set(found.tolist())) == 6
    assert found[0] == found[1] == found[2]


def test_permutations_are_those_of_whole_units() -> None:
    """Against a loop that shuffles the patients' labels themselves, patients having one to four images."""
    generator = np.random.default_rng(4)
    patients = np.repeat(np.arange(60), generator.integers(1, 5, 60))
    labels = generator.integers(0, 3, 60)[patients]
    column = np.where(generator.random(len(patients)) < 0.2, labels, patients % 4)
    units = Units(patients - 30, labels)  # numbers below zero stand for groups of look-alikes
    found = association(column, units, 4000)
    shuffled = []
    for _ in range(4000):
        again = generator.permutation(units.label)[units.of_image]
        shuffled.append(np.histogram2d(again, column, bins=(np.arange(4), np.arange(5)))[0])
    assert found.value == pytest.approx(published(np.histogram2d(labels, column, bins=(np.arange(4), np.arange(5)))[0]))
    expected = np.mean(cramers_v(np.array(shuffled)) >= found.value)
    assert 0.01 < expected < 0.9
    assert found.p == pytest.approx(expected, abs=0.03)


def test_a_column_that_is_the_same_for_all_tells_nothing() -> None:
    assert association(np.zeros(20, int), Units(range(20), [0, 1] * 10), 50) == (0.0, 1.0)


def test_parts_of_permutations_make_no_difference(monkeypatch: pytest.MonkeyPatch) -> None:
    """However the permutations are cut into parts, they are the same ones."""
    generator = np.random.default_rng(5)
    labels, column = generator.integers(0, 2, (2, 500))
    whole = association(column, Units(range(500), labels), 300)
    monkeypatch.setattr("medimg.checks.association._AT_ONCE", 40)
    assert association(column, Units(range(500), labels), 300) == whole
