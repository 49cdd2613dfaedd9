import numpy as np

from medimg.evaluation.metrics import metric_names
from medimg.evaluation.support import absent, supports
from medimg.evaluation.units import units_of

# Patients a and b have two images each, c one; b's are of both classes.
UNITS = units_of(["a", "a", "b", "b", "c"])
LABELS = np.array([0, 0, 0, 1, 1])
PREDICTED = np.array([0, 1, 1, 1, 0])


def test_units_are_counted_once():
    found = supports(UNITS, LABELS, PREDICTED, ("x", "y", "z"))
    assert set(found) == set(metric_names(("x", "y", "z")))
    assert str(found["accuracy"]) == "3 patients"
    assert str(found["sensitivity/x"]) == str(found["f1/x"]) == "2 patients with x"
    assert str(found["specificity/y"]) == "2 patients without y"
    assert str(found["precision/x"]) == "2 patients predicted as x"
    assert str(found["precision/y"]) == "2 patients predicted as y"
    assert found["sensitivity/z"].number == found["auroc/z"].number == 0


def test_a_whole_metric_rests_on_the_smallest_class_that_is_there():
    found = supports(units_of(["a", "b", "c"]), np.array([0, 0, 1]), np.array([0, 0, 0]), ("x", "y", "z"))
    assert str(found["f1_macro"]) == str(found["auroc"]) == str(found["mcc"]) == "1 patient with y"


def test_absent_classes():
    assert absent(LABELS, ("x", "y", "z")) == ["z"]
