import csv
import subprocess
import sys

import numpy as np
import pytest
from scipy import special

from medimg.errors import RequestError
from medimg.evaluation.predictions import Predictions, softmax

CLASSES = ("Lung_Cancer", 'odd, "name"', "normal")


@pytest.fixture
def table():
    rng = np.random.default_rng(0)
    logits = rng.normal(scale=30, size=(5, 3))
    logits[0] = [1 / 3, 5e-324, -1.7976931348623157e308]
    logits[1] = [-0.0, 1e16 + 2, 0.1 + 0.2]
    return Predictions(
        paths=("test/b.png", "test/a.png", 'test/ä, "x"\n.png', "b/c", "a"),
        patient_ids=("p1", None, "007", "p,2", None),
        labels=np.array([0, 2, 1, 1, 0]),
        logits=logits,
        classes=CLASSES,
    )


def by_path(table):
    return sorted(range(len(table.paths)), key=lambda row: table.paths[row])


def test_the_round_trip_keeps_every_bit(table, tmp_path):
    table.write_csv(tmp_path / "test.csv")
    back = Predictions.read_csv(tmp_path / "test.csv")
    rows = by_path(table)
    assert back.classes == table.classes
    assert back.paths == tuple(table.paths[row] for row in rows)
    assert back.patient_ids == tuple(table.patient_ids[row] for row in rows)
    assert back.labels.tolist() == table.labels[rows].tolist()
    assert back.logits.tobytes() == table.logits[rows].tobytes()
    assert back.probabilities.tobytes() == table.probabilities[rows].tobytes()
    back.write_csv(tmp_path / "again.csv")
    assert (tmp_path / "again.csv").read_bytes() == (tmp_path / "test.csv").read_bytes()


def test_float32_comes_back_as_the_same_numbers(table, tmp_path):
    logits = np.random.default_rng(1).normal(size=(5, 3)).astype(np.float32)
    narrow = Predictions(tuple("abcde"), (None,) * 5, table.labels, logits, CLASSES)
    narrow.write_csv(tmp_path / "test.csv")
    back = Predictions.read_csv(tmp_path / "test.csv").logits
    assert back.dtype == np.float64
    assert back.astype(np.float32).tobytes() == logits.tobytes()
    assert back.tolist() == logits.tolist()


def test_the_columns(table, tmp_path):
    table.write_csv(tmp_path / "test.csv")
    with (tmp_path / "test.csv").open(newline="", encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    names = [*(f"prob_{name}" for name in CLASSES), *(f"logit_{name}" for name in CLASSES)]
    assert list(rows[0]) == ["path", "patient_id", "label", "prediction", *names]
    assert [row["path"] for row in rows] == sorted(table.paths)
    assert rows[0]["patient_id"] == ""
    for row, number in zip(rows, by_path(table), strict=True):
        assert row["label"] == CLASSES[table.labels[number]]
        assert row["prediction"] == CLASSES[np.argmax(table.logits[number])]
        assert [float(row[f"prob_{name}"]) for name in CLASSES] == table.probabilities[number].tolist()


def test_probabilities_agree_with_scipy():
    logits = np.random.default_rng(0).normal(scale=40, size=(50, 4)).astype(np.float32)
    assert softmax(logits).dtype == np.float64
    np.testing.assert_allclose(softmax(logits), special.softmax(logits.astype(np.float64), axis=1), rtol=1e-12)
    assert softmax(np.array([[1e4, 0.0]])).tolist() == [[1.0, 0.0]]


def test_equal_logits_go_to_the_first_class():
    table = Predictions(("a",), (None,), np.array([1]), np.zeros((1, 2)), ("x", "y"))
    assert table.predicted.tolist() == [0]


def test_no_images(tmp_path):
    empty = Predictions((), (), np.zeros(0, dtype=int), np.zeros((0, 3)), CLASSES)
    empty.write_csv(tmp_path / "test.csv")
    back = Predictions.read_csv(tmp_path / "test.csv")
    assert back.classes == CLASSES
    assert back.logits.shape == (0, 3)


def test_a_failed_write_leaves_the_old_file_alone(table, tmp_path, monkeypatch):
    table.write_csv(tmp_path / "test.csv")
    before = (tmp_path / "test.csv").read_bytes()
    monkeypatch.setattr(Predictions, "_rows", lambda self: (1 / 0 for _ in range(2)))
    with pytest.raises(ZeroDivisionError):
        table.write_csv(tmp_path / "test.csv")
    assert (tmp_path / "test.csv").read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["test.csv"]


def test_what_does_not_fit_is_refused():
    with pytest.raises(ValueError, match="do not go with"):
        Predictions(("a",), (None,), np.array([0]), np.zeros((1, 3)), ("x", "y"))
    with pytest.raises(ValueError, match=r"labels must lie in 0 \.\. 1"):
        Predictions(("a",), (None,), np.array([2]), np.zeros((1, 2)), ("x", "y"))


@pytest.mark.parametrize("text", ["", "path,label\na,b\n", "path,patient_id,label,prediction,prob_x,logit_y\n"])
def test_another_table_is_refused(tmp_path, text):
    file = tmp_path / "test.csv"
    file.write_text(text)
    with pytest.raises(RequestError, match="no predictions table"):
        Predictions.read_csv(file)


@pytest.mark.parametrize("row", ["a,,z,x,1.0,2.0", "a,,x,x,1.0", "a,,x,x,1.0,much", "a,,x,x,1.0,2.0,3.0"])
def test_a_broken_row_is_named(tmp_path, row):
    file = tmp_path / "test.csv"
    file.write_text(f"path,patient_id,label,prediction,prob_x,logit_x\nb,,x,x,1.0,2.0\n{row}\n")
    with pytest.raises(RequestError, match=r"test\.csv: row 3 .*a,,"):
        Predictions.read_csv(file)


def test_a_missing_file(tmp_path):
    with pytest.raises(RequestError, match=r"test\.csv"):
        Predictions.read_csv(tmp_path / "test.csv")


def test_no_torch_is_needed():
    code = "import sys, medimg.evaluation.predictions; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
