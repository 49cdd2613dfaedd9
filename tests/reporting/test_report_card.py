"""The model card: what checklists ask for, filled or marked open, and never written over an author's words."""

import logging
import re
from pathlib import Path

import pytest
from evaluated_runs import edit, write_evaluated_run

from medimg.reporting.report.card import render_card, write_card
from medimg.reporting.report.source import read_source
from medimg.runs import RunFolder


def card_of(folder: RunFolder) -> str:
    return render_card(read_source(folder.path))


def write(folder: RunFolder) -> str:
    write_card(read_source(folder.path), folder.path)
    return (folder.path / "model_card.md").read_text()


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    return write_evaluated_run(tmp_path / "run")


def test_what_checklists_ask_for_has_a_heading(folder: RunFolder) -> None:
    headings = re.findall(r"^#+ (.*)$", card_of(folder), re.MULTILINE)
    asked = ["Model details", "Intended use", "Out of scope", "Data", "Source and eligibility", "Reference standard"]
    asked += ["Partitions", "Training", "Evaluation", "Test", "Validation", "Failure analysis", "External test"]
    asked += ["Limitations", "Ethics and fairness", "Availability", "Versions"]
    assert [heading for heading in headings if heading in asked] == asked


def test_what_only_the_author_knows_is_marked_with_its_checklist_item(folder: RunFolder) -> None:
    lines = [line for line in card_of(folder).splitlines() if "TO FILL IN" in line][1:]
    assert len(lines) > 15
    assert all(re.match(r"- \*\*TO FILL IN\*\* \((CLAIM|TRIPOD\+AI|model cards): ", line) for line in lines)


def test_scores_are_those_of_results_json(folder: RunFolder) -> None:
    text, results = card_of(folder), folder.results()
    for split in ("test", "val"):
        low, high = results["ci95"][split]["f1_macro"]
        assert f"| macro-F1 | {results[split]['f1_macro']:.3f} | {low:.3f} to {high:.3f} [1]" in text
        flag = results["evaluation"][split]["flags"]["f1_macro"]
        assert f"\n\n[1] {flag}\n" in text
    assert "<span" not in text
    assert "&#" not in text


def test_a_card_without_test_and_of_synthetic_images(tmp_path: Path) -> None:
    folder = write_evaluated_run(tmp_path / "run", ("<b>", "a|b*c"), evaluated=("val",), synthetic=True)
    text = card_of(folder)
    assert "### Test\n" not in text
    assert "**Synthetic images:**" in text
    assert "<b>" not in text
    assert "a\\|b\\*c" in text
    rows = [line for line in text.splitlines() if line.startswith("|")]
    assert all(re.sub(r"\\.", "", row).count("|") >= 3 for row in rows)


def test_a_card_that_nobody_edited_is_renewed(folder: RunFolder) -> None:
    write(folder)
    edit(folder.run_file, name="another")
    assert write(folder).startswith("# Model card: another\n")
    assert not (folder.path / "model_card.new.md").exists()


@pytest.mark.parametrize("mark_stays", [True, False])
def test_an_edited_card_is_never_written_over(
    folder: RunFolder, mark_stays: bool, caplog: pytest.LogCaptureFixture
) -> None:
    mine = write(folder).replace("**TO FILL IN** (CLAIM: data sources", "Hospital A (CLAIM: data sources")
    mine = mine if mark_stays else mine[: mine.index("<!--")]
    (folder.path / "model_card.md").write_text(mine)
    edit(folder.run_file, name="another")
    with caplog.at_level(logging.WARNING):
        assert write(folder) == mine
    assert "model_card.new.md" in caplog.text
    assert (folder.path / "model_card.new.md").read_text().startswith("# Model card: another\n")


def test_an_edited_card_is_left_in_peace_where_the_run_says_nothing_new(folder: RunFolder) -> None:
    mine = write(folder).replace("**TO FILL IN** (CLAIM: data sources", "Hospital A (CLAIM: data sources")
    (folder.path / "model_card.md").write_text(mine)
    assert write(folder) == mine
    assert not (folder.path / "model_card.new.md").exists()
