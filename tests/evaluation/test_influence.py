import numpy as np
import pytest

from medimg.evaluation.by_unit import ByUnit
from medimg.evaluation.influence import influences


def example(present=(0, 1, 2)):
    rng = np.random.default_rng(0)
    codes = rng.integers(0, 20, 100)
    codes[:20] = np.arange(20)
    labels = rng.choice(present, 100)
    logits = rng.normal(size=(100, 3)) + np.eye(3)[labels]
    return ByUnit.of(logits, labels, codes, "abc")


def test_influences_are_derivatives_by_the_weight_of_a_unit():
    by_unit = example()
    found = influences(by_unit)
    step = 1e-6
    up, down = (by_unit.metrics(1 + sign * step * np.eye(20)) for sign in (1, -1))
    assert found.keys() == up.keys()
    for metric, values in found.items():
        assert values == pytest.approx((up[metric] - down[metric]) / (2 * step), abs=1e-7), metric


def test_metrics_do_not_depend_on_the_scale_of_weights_so_influences_sum_to_nothing():
    for metric, values in influences(example()).items():
        assert values.sum() == pytest.approx(0, abs=1e-7), metric


def test_what_is_not_defined_has_none():
    found = influences(example(present=(0, 2)))
    assert {"sensitivity/b", "auroc/b", "average_precision/b"}.isdisjoint(found)
    assert {"sensitivity/a", "specificity/b", "auroc", "f1_macro"} <= found.keys()
