import numpy as np

from medimg.evaluation.units import strata_of, units_of


def test_rows_of_a_patient_are_one_unit_and_unknown_ones_a_unit_each():
    units = units_of(["b", None, "a", "b", "", "a"])
    assert units.codes.tolist() == [0, 1, 2, 0, 3, 2]
    assert (units.kind, units.number) == ("patient", 4)
    assert units.codes.dtype == np.int64


def test_groups_stand_in_where_no_patient_is_known():
    units = units_of([None, None, None, None], ["g", None, "g", "h"])
    assert units.codes.tolist() == [0, 1, 0, 2]
    assert units.kind == "group"


def test_a_patient_and_a_group_of_one_name_are_two_units():
    units = units_of(["x", None, "x"], ["x", "x", None])
    assert units.codes.tolist() == [0, 1, 0]
    assert units.kind == "patient"


def test_images_where_nothing_is_known():
    units = units_of([None, None])
    assert (units.kind, units.number) == ("image", 2)
    assert units_of([]).number == 0


def test_the_stratum_is_the_class_of_most_images():
    units = units_of(["a", "a", "a", "b", "c", "c"])
    assert strata_of(units, np.array([2, 2, 0, 1, 1, 1]), 3).tolist() == [2, 1, 1]


def test_a_tie_goes_to_the_rarer_class_and_then_to_the_first():
    units = units_of(["a", "a", "b", "b", "c"])
    assert strata_of(units, np.array([0, 1, 0, 1, 0]), 2).tolist() == [1, 1, 0]
    assert strata_of(units_of(["a", "a"]), np.array([1, 0]), 2).tolist() == [0]
