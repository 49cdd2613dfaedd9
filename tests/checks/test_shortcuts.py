"""Shortcuts: the level that all comparisons together keep, and who is kept together."""

from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from medimg.checks.shortcuts import LEVEL, Shortcuts, _sampled, groups_of
from medimg.data.manifest import Manifest, Record
from medimg.data.similarity import Pair


def manifest_of(labels: str, patients: list[str | None] | None = None) -> Manifest:
    known = patients or [None] * len(labels)
    records = [Record(f"{i:04d}.png", label, patient_id=known[i]) for i, label in enumerate(labels)]
    return Manifest(Path(), tuple(records), classes=tuple(sorted(set(labels))))


def test_where_nothing_differs_nothing_is_reported() -> None:
    """A hundred data sets of noise with five comparisons each: at the level of 0.01, about one has a finding."""
    reported = 0
    for seed in range(100):
        generator = np.random.default_rng(seed)
        labels = "".join(generator.permutation(list("aaabb" * 12)))
        shortcuts = Shortcuts(manifest_of(labels), range(60), "images", planned=5)
        for number in range(4):
            shortcuts.compare_column(str(number), [str(value) for value in generator.integers(0, 4, 60)])
        shortcuts.compare_features("noise", dict(enumerate(generator.normal(size=(60, 4)))))
        assert len(shortcuts.comparisons) == 5
        reported += bool(shortcuts.findings)
    assert LEVEL == 0.01
    assert reported <= 4  # of 100 draws with chance 0.01, 5 or more happen once in 300


def test_what_is_planted_is_reported_by_its_strength() -> None:
    generator = np.random.default_rng(0)
    labels = "ab" * 100
    strong = [{"a": "H1", "b": "H2"}[label] for label in labels]
    weak = [one if generator.random() < 0.4 else "H1" for one in strong]
    shortcuts = Shortcuts(manifest_of(labels), range(200), "images", planned=2)
    shortcuts.compare_column("strong", strong)
    shortcuts.compare_column("weak", weak)
    assert [finding.severity for finding in shortcuts.findings] == ["warning", "note"]
    assert "strong" in shortcuts.findings[0].message


def test_who_is_kept_together() -> None:
    pairs = [Pair(0, 2, False, 0.1)]
    assert groups_of(manifest_of("abab", ["p", "p", "q", "q"]), pairs) == ([0, 0, 1, 1], "patients")
    groups, unit = groups_of(manifest_of("abab"), pairs)
    assert groups[0] == groups[2]
    assert len(set(groups)) == 3
    assert unit == "groups of look-alikes"
    groups, unit = groups_of(manifest_of("abab", ["p", "p", None, None]), [])
    assert (len(set(groups)), unit) == (3, "patients or images")


def test_a_column_with_one_value_or_too_few_images_is_not_compared() -> None:
    shortcuts = Shortcuts(manifest_of("ab" * 20), range(40), "images", planned=1)
    shortcuts.compare_column("constant", ["x"] * 40)
    few = Shortcuts(manifest_of("ab" * 20), [i % 4 for i in range(40)], "patients", planned=1)
    few.compare_column("hospital", ["H1", "H2"] * 20)
    assert shortcuts.comparisons == few.comparisons == []


def test_of_hundreds_of_classes_the_most_common_are_told_apart() -> None:
    generator = np.random.default_rng(0)
    numbers = np.concatenate([np.repeat(np.arange(20), 12), np.repeat(np.arange(20, 120), 6)])
    labels = [f"{number:03d}" for number in numbers]
    records = tuple(Record(f"{i:04d}.png", label) for i, label in enumerate(labels))
    shortcuts = Shortcuts(Manifest(Path(), records), range(len(labels)), "images", planned=1)
    features = numbers[:, None] * np.array([1, 0, 0]) + generator.normal(size=(len(labels), 3))
    features[240:] = 1e6  # of the rare classes, which would tell them from the others
    shortcuts.compare_features("noise", dict(enumerate(features)))
    (found,) = shortcuts.findings
    assert "noise (the 20 most common of 120 classes) alone" in found.message
    targets, scores = np.eye(20)[numbers[:240]], features[:240, :1]
    linear = np.mean([roc_auc_score(targets[:, k], (k - 9.5) * scores[:, 0]) for k in range(20)])
    assert shortcuts.comparisons[0].value == pytest.approx(linear, abs=0.05)


def test_a_sample_holds_whole_groups() -> None:
    groups = np.repeat(np.arange(100), 7)
    places = np.arange(0, 700, 2)
    kept = _sampled(places, groups, 120)
    assert 110 < len(kept) <= 120
    assert all((groups[kept] == group).sum() == (groups[places] == group).sum() for group in set(groups[kept]))
    assert _sampled(places, groups, 350) is places
