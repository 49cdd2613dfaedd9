import math

import numpy as np
import pytest
from sklearn import metrics as reference

from medimg.errors import RequestError
from medimg.evaluation.operating_points import OperatingPoint, apply_point, choose_points


def draw(n, seed, decimals=None):
    rng = np.random.default_rng(seed)
    is_positive = rng.random(n) < 0.4
    scores = 1 / (1 + np.exp(-(rng.normal(size=n) + 1.5 * is_positive - 0.5)))
    return is_positive, scores if decimals is None else scores.round(decimals)


def all_rates(is_positive, scores):
    """Sensitivity and specificity of every cut that is neither all nor nothing, by scikit-learn."""
    fpr, tpr, _ = reference.roc_curve(is_positive, scores, drop_intermediate=False)
    return tpr[1:-1], 1 - fpr[1:-1]


@pytest.mark.parametrize("decimals", [None, 1])
@pytest.mark.parametrize("seed", range(4))
def test_each_rule_is_as_good_as_the_best_point_of_the_roc_curve(seed, decimals):
    is_positive, scores = draw(120, seed, decimals)
    points = choose_points(is_positive, scores, specificity=0.85, sensitivity=0.8, false_negative_cost=3)
    found = {name: apply_point(point, is_positive, scores) for name, point in points.items()}
    sensitivity, specificity = all_rates(is_positive, scores)
    assert found["youden"]["youden"] == pytest.approx((sensitivity + specificity - 1).max())
    enough = specificity >= 0.85 - 1e-12
    assert found["sensitivity_at_specificity"]["specificity"] >= 0.85
    assert found["sensitivity_at_specificity"]["sensitivity"] == pytest.approx(sensitivity[enough].max())
    enough = sensitivity >= 0.8 - 1e-12
    assert found["specificity_at_sensitivity"]["sensitivity"] >= 0.8
    assert found["specificity_at_sensitivity"]["specificity"] == pytest.approx(specificity[enough].max())
    costs = (1 - specificity) * (~is_positive).sum() + 3 * (1 - sensitivity) * is_positive.sum()
    assert found["cost"]["fp"] + 3 * found["cost"]["fn"] == pytest.approx(costs.min())


def test_what_a_point_does_agrees_with_sklearn():
    is_positive, scores = draw(90, 5)
    point = OperatingPoint("mine", 0.37, "mine")
    found = apply_point(point, is_positive, scores)
    yes = scores >= 0.37
    assert [found[name] for name in ("tn", "fp", "fn", "tp")] == reference.confusion_matrix(
        is_positive, yes
    ).ravel().tolist()
    expected = {
        "sensitivity": reference.recall_score(is_positive, yes),
        "specificity": reference.recall_score(~is_positive, ~yes),
        "ppv": reference.precision_score(is_positive, yes),
        "npv": reference.precision_score(~is_positive, ~yes),
        "accuracy": reference.accuracy_score(is_positive, yes),
        "f1": reference.f1_score(is_positive, yes),
        "youden": reference.balanced_accuracy_score(is_positive, yes, adjusted=True),
    }
    assert {name: found[name] for name in expected} == pytest.approx(expected)


def test_thresholds_lie_halfway_between_scores_so_that_small_differences_turn_nothing_over():
    is_positive, scores = draw(200, 7, decimals=3)
    noise = np.random.default_rng(0).uniform(-4e-4, 4e-4, len(scores))
    points = choose_points(is_positive, scores)
    for name in points.keys() - {"argmax"}:
        point = points[name]
        assert apply_point(point, is_positive, scores + noise) == apply_point(point, is_positive, scores)
    two = choose_points(np.array([False, True]), np.array([0.2, 0.6]))
    assert two["youden"].threshold == pytest.approx(0.4)


def test_no_threshold_between_scores_that_differ_by_rounding_only():
    is_positive = np.array([False, False, True, True])
    points = choose_points(is_positive, np.array([0.1, 0.5, 0.5 + 1e-9, 0.9]))
    assert points["youden"].threshold == pytest.approx(0.3)  # 0.7 is as good, and less sensitive
    nothing = choose_points(is_positive, 0.5 + 1e-9 * np.arange(4))
    assert nothing["youden"].reason == "all scores are the same"


def test_yes_is_from_the_threshold_on():
    found = apply_point(OperatingPoint("argmax", 0.5, ""), np.array([True, False]), np.array([0.5, 0.49]))
    assert (found["tp"], found["tn"]) == (1, 1)


def test_ties_of_youden_and_cost_go_to_the_larger_sensitivity():
    # by falling score: + - + -: the cuts behind the first and the third both have a Youden index of 0.5 and cost 1
    is_positive, scores = np.array([True, False, True, False]), np.array([0.8, 0.6, 0.4, 0.2])
    points = choose_points(is_positive, scores, sensitivity=0.5, specificity=0.5)
    assert points["youden"].threshold == pytest.approx(0.3)
    assert points["cost"].threshold == pytest.approx(0.3)
    assert points["specificity_at_sensitivity"].threshold == pytest.approx(0.7)
    assert points["sensitivity_at_specificity"].threshold == pytest.approx(0.3)


def test_each_rule_that_cannot_be_met_says_why():
    # the highest scores are negative ones, the lowest positive ones
    is_positive, scores = np.array([False, True, False, True]), np.array([0.8, 0.6, 0.4, 0.2])
    points = choose_points(is_positive, scores, specificity=0.9, sensitivity=0.9)
    assert points["argmax"].threshold == 0.5
    unmet = {name: point.reason for name, point in points.items() if point.threshold is None}
    assert unmet == {
        "youden": "no threshold does better than chance",
        "sensitivity_at_specificity": "at a specificity of 0.9 no positive image is found",
        "specificity_at_sensitivity": "at a sensitivity of 0.9 every negative image is an alarm",
        "cost": "no threshold is cheaper than answering yes for every image",
    }
    with pytest.raises(ValueError, match="better than chance"):
        apply_point(points["youden"], is_positive, scores)
    cheap = choose_points(is_positive, scores, false_negative_cost=0.1)
    assert "answering no" in cheap["cost"].reason


@pytest.mark.parametrize(
    ("is_positive", "scores", "reason"),
    [
        ([True, True], [0.1, 0.9], "2 positive and 0 negative"),
        ([], [], "0 positive and 0 negative"),
        ([True, False], [np.nan, 0.9], "finite"),
        ([True, False], [0.7, 0.7], "same"),
    ],
)
def test_images_from_which_nothing_can_be_chosen(is_positive, scores, reason):
    points = choose_points(np.array(is_positive, bool), np.array(scores, float))
    assert points["argmax"].threshold == 0.5
    assert all(reason in point.reason for name, point in points.items() if name != "argmax")


def test_rates_that_are_not_defined_are_nan():
    point = OperatingPoint("argmax", 0.5, "")
    found = apply_point(point, np.array([False, False]), np.array([0.1, 0.2]))
    assert found["tn"] == 2
    assert found["specificity"] == found["npv"] == found["accuracy"] == 1
    assert all(math.isnan(found[name]) for name in ("sensitivity", "ppv", "f1", "youden"))
    broken = apply_point(point, np.array([True, False]), np.array([np.nan, 0.2]))
    assert all(math.isnan(value) for value in broken.values())


@pytest.mark.parametrize("wrong", [{"specificity": 0.0}, {"sensitivity": 1.1}, {"false_negative_cost": -1.0}])
def test_settings_out_of_range(wrong):
    with pytest.raises(RequestError, match="has to be"):
        choose_points(np.array([True, False]), np.array([0.9, 0.1]), **wrong)
