import json
import sys
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import norm

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def coverage(monkeypatch):
    """The script as a module, with a smaller population."""
    monkeypatch.syspath_prepend(BENCHMARKS)
    monkeypatch.delitem(sys.modules, "coverage", raising=False)
    import coverage

    assert Path(coverage.__file__).parent == BENCHMARKS
    monkeypatch.setattr(coverage, "POPULATION", 200_000)
    yield coverage
    sys.modules.pop("coverage", None)


@pytest.mark.parametrize("accuracy", [0.7, 0.95])
def test_the_truth_of_two_classes_is_that_of_the_formulas(coverage, accuracy):
    found = coverage.truth(2, accuracy)
    assert found["accuracy"] == pytest.approx(accuracy, abs=0.004)
    assert found["f1_macro"] == pytest.approx(accuracy, abs=0.004)
    assert found["auroc"] == pytest.approx(norm.cdf(np.sqrt(2) * norm.ppf(accuracy)), abs=0.004)


def test_three_classes_are_of_different_hardness(coverage):
    found = coverage.truth(3, 0.8)
    assert found["accuracy"] == pytest.approx(0.8, abs=0.004)
    assert found["sensitivity/c0"] > found["sensitivity/c1"] + 0.02 > found["sensitivity/c2"] + 0.04


def test_the_correlation_is_within_patients_alone(coverage):
    cell = coverage.Cell(2, 3000, 0.6, 0.8)
    images = np.full(6000, 2)
    logits, labels, codes = coverage.draw(cell, 3000, images, np.random.default_rng(0))
    assert (codes == np.repeat(np.arange(6000), 2)).all()
    noise = logits[:, 0] - np.where(labels == 0, coverage.shifts(2, 0.8)[0], 0)
    assert np.corrcoef(noise[::2], noise[1::2])[0, 1] == pytest.approx(0.6, abs=0.04)
    assert np.corrcoef(noise[1:-1:2], noise[2::2])[0, 1] == pytest.approx(0, abs=0.06)
    assert noise.var() == pytest.approx(1, abs=0.05)


def test_a_short_run_writes_both_files(coverage, tmp_path, capsys):
    cells = [coverage.Cell(2, 20, 0.3, 0.8), coverage.Cell(3, 100, 0.0, 0.8)]
    arguments = ["--trials", "8", "--resamples", "50", "--processes", "1", "--output", str(tmp_path)]
    coverage.main(arguments, cells)
    rows = json.loads((tmp_path / "coverage.json").read_text())["cells"]
    assert [(row["classes"], row["patients"], row["trials"]) for row in rows] == [(2, 20, 8), (3, 100, 8)]
    for row in rows:
        for metric in coverage.METRICS:
            parts = [row[part][metric] for part in ("coverage", "too_low", "too_high")]
            assert sum(parts) == pytest.approx(1)
            assert 0 < row["width"][metric] < 1
    page = (tmp_path / "coverage.md").read_text()
    assert "python benchmarks/coverage.py --trials 8 --resamples 50" in page
    assert "| 2 | 20 | 0.3 | 0.8 |" in page
    assert "From 100 patients a class on" in page
    assert len(capsys.readouterr().out.splitlines()) == 2
