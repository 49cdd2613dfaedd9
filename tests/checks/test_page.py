"""The page and the terminal text of a check."""

import re
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
from drawn_data import draw

from medimg.checks.findings import Comparison, Finding, Report
from medimg.checks.page import render
from medimg.checks.told import in_one_line, told


def report_of(*findings: Finding) -> Report:
    comparisons = (Comparison("the column '<b>'", "V", 0.9, 0.001, suspicious=True),)
    return Report(findings, {"train": {"a": 20, "b": 20}}, comparisons, {"mode": {"a": {"L": 20}, "b": {"L": 20}}})


def test_the_page_needs_nothing_else_and_escapes_everything(tmp_path: Path) -> None:
    manifest = draw(tmp_path, 6)
    pair = tuple(record.path for record in manifest.records[:2])
    found = Finding("duplicate", "severe", pair, "<script>alert(1)</script>", "Keep one & only one.")
    gone = Finding("near_duplicate", "note", ("a/gone.png", pair[0]), "two", "")
    page = render(report_of(found, gone), manifest, title="<i>data</i>", when="today")
    assert "<script" not in page
    assert "<i>data" not in page
    assert "the column &#39;&lt;b&gt;&#39;" in page
    assert page.count("data:image/jpeg;base64,") == 3 + 6  # three in findings, six examples
    assert "not readable" in page
    assert not re.search(r'(src|href)="(?!data:|#)', page)
    assert all(path in page for path in pair)


def test_a_page_without_findings(tmp_path: Path) -> None:
    page = render(report_of(), draw(tmp_path, 2), title="x", when="today")
    assert "Nothing was found." in page
    assert "no all-clear" in page
    assert "mode: L in all files." in page


def test_a_page_stays_light_with_thousands_of_findings(tmp_path: Path) -> None:
    manifest = draw(tmp_path, 4)
    pair = tuple(record.path for record in manifest.records[:2])
    many = [Finding("near_duplicate", "warning", pair, f"pair {i}", "Look.") for i in range(3000)]
    page = render(report_of(*many), manifest, title="x", when="today")
    assert len(page) < 1_000_000
    assert "and 2,960 more in check.json" in page


def test_every_entry_of_the_contents_leads_somewhere(tmp_path: Path) -> None:
    found = [Finding("duplicate", severity, (), "x", "y") for severity in ("severe", "warning")]
    page = render(report_of(*found), draw(tmp_path, 2), title="x", when="today")
    targets = re.findall(r'href="#([^"]+)"', page)
    assert {"severe-duplicate", "warning-duplicate", "comparisons", "examples"} <= set(targets)
    assert sorted(targets) == sorted(re.findall(r'id="([^"]+)"', page))


def test_an_advice_is_given_once_for_all_that_it_is_for(tmp_path: Path) -> None:
    cures = ["Rename it.", "Remove it.", "Rename it.", "Remove it."]
    found = [Finding("wrong_format", "warning", (), f"file {i}.", cure) for i, cure in enumerate(cures)]
    page = render(report_of(*found), draw(tmp_path, 2), title="x", when="today")
    order = re.findall(r"Rename it\.|Remove it\.|file \d", page)
    assert order == ["file 0", "file 2", "Rename it.", "file 1", "file 3", "Remove it."]


def test_findings_that_say_the_same_are_told_once(tmp_path: Path) -> None:
    manifest = draw(tmp_path, 6)
    paths = [record.path for record in manifest.records]
    found = [Finding("duplicate", "warning", (one, two), "2 images alike.", "") for one, two in pairwise(paths)]
    page = render(report_of(*found), manifest, title="x", when="today")
    assert page.count("2 images alike.") == 1
    assert f"<b>{len(found)} times:</b>" in page
    assert page.count('<div class="item">') == len(found)
    assert f"<b>{len(found)}</b> warnings" in page
    assert "<b>0</b> severe<" in page


def test_the_terminal_is_told_the_first_few(capsys: pytest.CaptureFixture[str]) -> None:
    many = [Finding("unreadable", "severe", (f"a/{i}.png",), f"a/{i}.png: empty.", "Remove it.") for i in range(9)]
    text = told(report_of(*many, Finding("duplicate", "warning", tuple("abcde"), "5 copies.", "Keep one.")))
    assert "Found: 9 severe, 1 warning, 0 notes." in text
    assert text.count("empty.") == 3
    assert "and 6 more" in text
    assert "a, b, c and 2 more" in text
    assert text.count("-> Remove it.") == 1
    assert "none was found" in text
    assert in_one_line("unreadable", many) == "check: unreadable: a/0.png: empty (and 8 more)"


def test_a_line_of_the_log_stays_short() -> None:
    long = Finding("metadata", "warning", (), "word " * 500, "a cure " * 100)
    assert len(in_one_line("metadata", [long] * 3)) < 200


def test_what_the_numbers_of_shortcuts_mean_is_said_once() -> None:
    found = [Finding("shortcut", "warning", (), f"The class goes with {what}: V 1.", "Look.") for what in "abc"]
    text = told(replace(report_of(*found), unit="groups"))
    assert text.count("by permuting the labels of whole groups") == 1
    assert "permuting" not in told(report_of())
