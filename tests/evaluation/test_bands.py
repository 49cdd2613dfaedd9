import numpy as np
import pytest

from medimg.evaluation.bands import Groups, groups_of


def found(name, values, codes=None):
    return groups_of(name, [str(value) for value in values], np.arange(len(values)) if codes is None else codes)


def test_few_values_are_a_group_each_and_blanks_one_more():
    groups = found("sex", ["M", " F", "", "M", "nan", "F"])
    assert groups == Groups(("M", "F", "unknown", "M", "unknown", "F"), ("F", "M", "unknown"))


def test_codes_are_in_the_order_of_numbers():
    assert found("grade", [10, 2, 10, 2, 1, 1]).order == ("1", "2", "10")


@pytest.mark.parametrize("name", ["age", "Age", "patient_age", "PatientAge", "AGE_YEARS"])
def test_ages_by_ten_years(name):
    ages = [3, 19, 20, 29.5, 30, 41, 42, 43, 44, 45, 46, 47, 48, "", 101]
    groups = found(name, ages)
    assert groups.order == ("0 to 9", "10 to 19", "20 to 29", "30 to 39", "40 to 49", "100 to 109", "unknown")
    assert groups.of_row[:5] == ("0 to 9", "10 to 19", "20 to 29", "20 to 29", "30 to 39")
    assert groups.of_row[-2:] == ("unknown", "100 to 109")


def test_ages_as_dicom_writes_them():
    ages = ["006M", "011Y", "020Y", "031Y", "030D", "004W", *(f"0{age}Y" for age in range(60, 70))]
    groups = found("PatientAge", ages)
    assert groups.order == ("0 to 9", "10 to 19", "20 to 29", "30 to 39", "60 to 69")
    assert groups.of_row.count("0 to 9") == 3


def test_other_numbers_by_quarters():
    values = np.random.default_rng(0).normal(size=101).round(2)
    groups = found("weight", values)
    quartiles = np.quantile(values, [0.25, 0.5, 0.75])
    assert len(groups.order) == 4
    for name, low, high in zip(groups.order, [-9, *quartiles], [*quartiles, 9], strict=True):
        own = values[[other == name for other in groups.of_row]]
        assert ((own > low) & (own <= high)).all()
        assert 24 <= len(own) <= 27
    assert groups.order[0] == f"up to {quartiles[0]:g}"


def test_quarters_where_one_value_fills_most_of_them():
    values = [*range(20), *[20] * 200]
    groups = found("stay", values)
    assert groups.order == ("up to 19", "above 19")
    assert groups.of_row.count("above 19") == 200
    low = found("stay", [0] * 200 + list(range(1, 21)))
    assert low.order == ("up to 0", "above 0")


@pytest.mark.parametrize("name", ["image", "stage", "percentage"])
def test_the_word_age_stands_by_itself(name):
    assert found(name, [*range(40), *range(40)], np.arange(80)).order[0] == "up to 9"


@pytest.mark.parametrize(
    ("values", "codes", "reason"),
    [
        (["a"] * 5, range(5), "same"),
        ([""] * 5, range(5), "same"),
        ([], [], "same"),
        ([f"study {number}" for number in range(20)], range(20), "of its own"),
        (list(range(100, 120)), range(20), "of its own"),
        ([number // 2 for number in range(40)], [number // 2 for number in range(40)], "of its own"),  # a patient's
        ([f"town {number % 13}" for number in range(60)], range(60), "13 different values"),
    ],
)
def test_columns_that_make_no_groups(values, codes, reason):
    assert reason in found("column", values, np.array(codes, dtype=int))


def test_what_tells_patients_apart_makes_no_groups() -> None:
    codes = np.repeat(np.arange(8), 5)
    names = [f"Doe {code}" for code in codes]
    assert isinstance(groups_of("referring", names, codes), str)
    assert isinstance(groups_of("patient_name", ["a", "b"] * 20, codes), str)
    births = [f"19{50 + code // 2}-01-01" for code in codes]  # of two patients each
    assert isinstance(groups_of("birthDate", births, codes), str)
    assert not isinstance(groups_of("sex", ["f" if code % 2 else "m" for code in codes], codes), str)


def test_plus_and_minus_are_values() -> None:
    found = groups_of("contrast", ["+", "-"] * 10, np.arange(20))
    assert not isinstance(found, str)
    assert set(found.order) == {"+", "-"}


def test_spellings_of_one_number_are_one() -> None:
    values = [f"1.{'0' * place}" for place in range(1, 16)]
    assert isinstance(groups_of("dose", values, np.arange(15)), str)


def test_few_ages_are_bands_as_well() -> None:
    found = groups_of("age", ["41", "45", "52", "58"] * 5, np.arange(20))
    assert not isinstance(found, str)
    assert found.order == ("40 to 49", "50 to 59")
