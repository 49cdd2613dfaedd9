"""Tables of text."""

import pytest

from medimg.reporting.tables import amount, duration, markdown_table, shortened, terminal_table


def test_columns_stand_below_each_other() -> None:
    lines = terminal_table(["a", "long name"], [["1", "x"], ["longer", ""]]).splitlines()
    assert lines == ["a       long name", "------  ---------", "1       x", "longer"]


def test_long_cells_lose_their_middle_but_for_the_last_column() -> None:
    lines = terminal_table(["a", "b"], [["x" * 30 + "y" * 30, "z" * 90]]).splitlines()
    first, last = lines[2].split()
    assert (len(first), first[0], first[-1], "..." in first) == (40, "x", "y", True)
    assert last == "z" * 90


def test_markdown_escapes_what_would_break_a_table() -> None:
    text = markdown_table(["a|b"], [["c|d\ne <f>"], ["\\|"]])
    assert text == "| a\\|b |\n| --- |\n| c\\|d e &lt;f> |\n| \\\\\\| |"


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.04, "0.0 s"), (12.34, "12.3 s"), (89, "89.0 s"), (150, "2.5 min"), (5400.1, "1.5 h")]
)
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_amounts() -> None:
    assert [amount(number) for number in (0, 24133, 25_557_032)] == ["0", "24,133", "25.6 M"]


def test_short_text_stays() -> None:
    assert shortened("a b", 3) == "a b"
    assert shortened("a\n b", 3) == "a b"
    assert len(shortened("abcdefghij", 8)) == 8
