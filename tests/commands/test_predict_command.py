"""`medimg predict`: a row for each image, whatever it is, and no row lost or made twice."""

import csv
import errno
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import draw_folder
from medical_files import make_dicom
from PIL import Image

from medimg.cli import main
from medimg.config import TrainConfig
from medimg.data.manifest import read_manifest_csv
from medimg.inference import part_file
from medimg.inference.rows import Row, as_line
from medimg.runs import RunFolder

Run = tuple[RunFolder, TrainConfig]
Ask = Callable[..., tuple[int, str, str]]
BROKEN = {"03.png": b"", "07.png": b"\x89PNG cut", "a/15.jpg": b"text", "z.dcm": b"no header"}


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tiny_run: Run) -> Path:
    """A folder with 40 images, four of them broken, and a text file."""
    monkeypatch.chdir(tmp_path)
    folder, _ = tiny_run
    manifest = read_manifest_csv(folder.manifest_file)
    (tmp_path / "images" / "a").mkdir(parents=True)
    names = [*(f"{number:02d}.png" for number in range(20)), *(f"a/{number:02d}.jpg" for number in range(10, 29))]
    for name, record in zip([*names, "z.dcm"], manifest.records, strict=False):
        with Image.open(manifest.file(record)) as image:
            image.save(tmp_path / "images" / name, format="PNG")
    for name, content in BROKEN.items():
        (tmp_path / "images" / name).write_bytes(content)
    (tmp_path / "images" / "notes.txt").write_text("no image")
    return tmp_path


@pytest.fixture
def ask(tiny_run: Run, capfd: pytest.CaptureFixture[str]) -> Ask:
    def run(*arguments: str, model: Path = tiny_run[0].path) -> tuple[int, str, str]:
        plain = ["num_workers=0", "accelerator=cpu", "batch_size=8"]
        given = {line.partition("=")[0] for line in arguments}
        more = [line for line in plain if line.partition("=")[0] not in given]
        code = main(["predict", f"run={model}", *arguments, *more])
        return code, *capfd.readouterr()

    return run


def rows(file: Path = Path("predictions.csv")) -> list[dict[str, str]]:
    with file.open(newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def test_a_folder_with_broken_images(home: Path, ask: Ask) -> None:
    code, out, err = ask("input=images")
    found = rows()
    assert code == 1
    assert [row["path"] for row in found] == sorted(
        path.relative_to("images").as_posix() for path in Path("images").rglob("*.*") if path.name != "notes.txt"
    )
    assert len(found) == 40
    bad = {row["path"]: row for row in found if row["error"]}
    assert set(bad) == set(BROKEN)
    for row in bad.values():
        assert {name for name, value in row.items() if value} == {"path", "error"}
    for row in found:
        if not row["error"]:
            probabilities = {name: float(row[f"prob_{name}"]) for name in ("normal", "covid")}
            assert sum(probabilities.values()) == pytest.approx(1, abs=1e-12)
            assert row["prediction"] == max(probabilities, key=probabilities.__getitem__)
            assert row["positive"] == ("yes" if probabilities["covid"] >= 0.5 else "no")
    counts = [sum(row["prediction"] == name for row in found) for name in ("normal", "covid")]
    assert f"predictions: 36 ({counts[0]} normal, {counts[1]} covid; " in out
    assert out.count("ot for clinical use") == 1 and "Written: predictions.csv" in out
    assert "left out, as they are no images: 1 .txt" in err
    assert "no prediction for 4 of 40" in err and "03.png: " in err and "and 1 more" in err
    assert not list(home.glob(".predictions*"))
    assert not any("remove it" in row["error"] for row in bad.values())


def test_it_says_what_the_run_itself_wrote(home: Path, ask: Ask, tiny_run: Run) -> None:
    folder, _ = tiny_run
    assert ask(f"input={folder.manifest_file}", "num_workers=2", "batch_size=7")[0] == 0
    found = {row["path"]: row for row in rows()}
    compared = 0
    for split in ("val", "test"):
        for row in rows(folder.predictions(split)):
            mine = found[row["path"]]
            assert mine["prediction"] == row["prediction"]
            for name in ("prob_normal", "prob_covid"):
                assert float(mine[name]) == pytest.approx(float(row[name]), abs=1e-6)
            compared += 1
    assert compared > 10


def test_operating_point_and_temperature_of_the_run(home: Path, ask: Ask, tiny_run: Run) -> None:
    shutil.copytree(tiny_run[0].path, "run")
    results = json.loads(Path("run/results.json").read_text())
    assert ask("input=images", "output=plain.csv")[0] == 1
    middle = float(np.median([float(row["prob_covid"]) for row in rows(Path("plain.csv")) if not row["error"]]))
    results["operating_points"] = {"chosen": "cost", "points": {"cost": {"threshold": middle}}}
    results["temperature"] = {"value": 2.0}
    Path("run/results.json").write_text(json.dumps(results))
    code, out, _ = ask("input=images", model=Path("run"))
    assert code == 1 and "(operating point: cost)" in out
    good = [row for row in rows() if not row["error"]]
    assert {row["positive"] for row in good} == {"yes", "no"}
    for row in good:
        plain, calibrated = float(row["prob_covid"]), float(row["calibrated_covid"])
        assert row["positive"] == ("yes" if plain >= middle else "no")
        odds = (plain / (1 - plain)) ** 0.5
        assert calibrated == pytest.approx(odds / (1 + odds), rel=1e-9)
    assert ask("input=images", "checkpoint=last", "output=last.csv", model=Path("run"))[0] == 1


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork")
@pytest.mark.parametrize("workers", [0, 2])
def test_killed_in_the_middle_of_a_row(home: Path, ask: Ask, monkeypatch: pytest.MonkeyPatch, workers: int) -> None:
    given = ["input=images", f"num_workers={workers}"]
    assert ask(*given, "output=whole.csv")[0] == 1
    whole = Path("whole.csv").read_bytes()
    append = part_file.PartFile.append

    def cut(self: part_file.PartFile, new: list[Row]) -> None:
        text = b"".join(map(as_line, new))
        self._stream.write(text[: len(text) * 2 // 3] if new[0][0].startswith("16") else text)
        self._stream.flush()
        if new[0][0].startswith("16"):  # the third batch
            os.kill(os.getpid(), signal.SIGKILL)

    child = os.fork()
    if child == 0:
        monkeypatch.setattr(part_file.PartFile, "append", cut)
        try:
            ask(*given)
        finally:
            os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
    part = Path(".predictions.csv.part")
    assert part.read_bytes() == whole[: part.stat().st_size] and not part.read_bytes().endswith(b"\n")

    added = []

    def counted(self: part_file.PartFile, new: list[Row]) -> None:
        added.extend(new)
        append(self, new)

    monkeypatch.setattr(part_file.PartFile, "append", counted)
    code, out, err = ask(*given)
    assert (code, len(added)) == (1, 24)
    assert Path("predictions.csv").read_bytes() == whole
    assert "16 rows of before were kept" in out
    assert "predictions: 36 " in out and "no prediction for 4 of 40" in err  # those of before are counted as well
    assert not list(home.glob(".predictions*"))


def test_ctrl_c_keeps_what_there_is(home: Path, ask: Ask, monkeypatch: pytest.MonkeyPatch) -> None:
    append = part_file.PartFile.append

    def interrupted(self: part_file.PartFile, new: list[Row]) -> None:
        append(self, new)
        os.kill(os.getpid(), signal.SIGINT)

    with monkeypatch.context() as patched:
        patched.setattr(part_file.PartFile, "append", interrupted)
        code, _, err = ask("input=images")
    assert code == 130 and "the same command goes on" in err
    assert not Path("predictions.csv").exists()
    assert ask("input=images")[0] == 1
    assert len(rows()) == 40


@pytest.mark.parametrize(
    ("raised", "code", "named"),
    [
        (torch.OutOfMemoryError("CUDA out of memory"), 1, ["batch_size=8"]),
        (RuntimeError("DataLoader worker (pid 71) is killed by signal: Killed. "), 1, ["pid 71", "num_workers=0"]),
        (OSError(errno.ENOSPC, "No space left on device"), 1, ["disk is full"]),
        (PermissionError(errno.EACCES, "Permission denied", "x.csv"), 2, ["x.csv"]),
    ],
)
def test_failures_with_a_cure(
    home: Path, ask: Ask, monkeypatch: pytest.MonkeyPatch, raised: Exception, code: int, named: list[str]
) -> None:
    def fail(_: part_file.PartFile, new: list[Row]) -> None:
        raise raised

    with monkeypatch.context() as patched:
        patched.setattr(part_file.PartFile, "append", fail)
        found, _, err = ask("input=images")
    assert found == code
    assert all(words in err for words in named)
    assert ask("input=images", "batch_size=3")[0] == 1
    assert len(rows()) == 40


def test_nothing_is_written_over(home: Path, ask: Ask, monkeypatch: pytest.MonkeyPatch) -> None:
    Path("predictions.csv").write_text("mine")
    code, _, err = ask("input=images")
    assert code == 2 and "predictions.csv" in err and "output=" in err
    assert Path("predictions.csv").read_text() == "mine"
    with monkeypatch.context() as patched:
        patched.setattr(part_file.PartFile, "finish", lambda _: (_ for _ in ()).throw(KeyboardInterrupt))
        assert ask("input=images", "output=new.csv")[0] == 130
    draw_folder(home / "images", {"b": 1})
    code, _, err = ask("input=images", "output=new.csv")
    assert code == 2 and "another request" in err and "images" in err


def test_a_csv_and_a_single_image(home: Path, ask: Ask) -> None:
    Path("images/list.csv").write_text("path\na/12.jpg\n00.png\nnone.png\n")
    assert ask("input=images/list.csv")[0] == 1
    first, second, third = rows()
    assert [first["path"], second["path"], third["path"]] == ["a/12.jpg", "00.png", "none.png"]
    assert "No such file" in third["error"]
    assert ask("input=images/00.png", "output=new/one.csv")[0] == 0
    (alone,) = rows(Path("new/one.csv"))
    assert float(alone["prob_covid"]) == pytest.approx(float(second["prob_covid"]), abs=1e-6)


def test_other_columns_of_a_csv_stand_beside_the_answers(home: Path, ask: Ask) -> None:
    lines = ["path,sex,error,note", 'a/12.jpg,F,none,"a, b"', "03.png,M,,"]
    Path("images/list.csv").write_text("\n".join(lines) + "\n")
    assert ask("input=images/list.csv")[0] == 1
    first, second = rows()
    assert list(first)[:5] == ["path", "sex", "input_error", "note", "prediction"] and list(first)[-1] == "error"
    assert [first[name] for name in ("sex", "input_error", "note", "error")] == ["F", "none", "a, b", ""]
    assert second["sex"] == "M" and second["error"] and not second["prediction"]
    assert first["prediction"] in {"normal", "covid"}


def test_a_folder_of_dicom(home: Path, ask: Ask) -> None:
    stored = np.random.default_rng(0).integers(0, 4096, (2, 16, 16), dtype=np.uint16)
    make_dicom(home / "scans" / "IM1", stored[0])
    make_dicom(home / "scans" / "cine.dcm", stored, NumberOfFrames=2)
    assert ask("input=scans")[0] == 0
    single, first, second = rows()
    assert [row["path"] for row in (single, first, second)] == ["IM1", "cine.dcm#000", "cine.dcm#001"]
    assert float(single["prob_covid"]) == pytest.approx(float(first["prob_covid"]), abs=1e-6)
    assert first["prob_covid"] != second["prob_covid"]
    assert "Secret" not in Path("predictions.csv").read_text()


def test_pictures_of_what_speaks_for_the_class(home: Path, ask: Ask) -> None:
    Path("images/list.csv").write_text("path\na/12.jpg\n00.png\n03.png\n")
    assert ask("input=images/list.csv", "explain=true", "output=out.csv")[0] == 1
    found = rows(Path("out.csv"))
    assert [row["map"] for row in found] == ["out_maps/0_a-12.png", "out_maps/1_00.png", ""]
    for row in found[:2]:
        with Image.open(row["map"]) as picture:
            assert picture.height == 64 and picture.width > 128
    assert sorted(path.name for path in Path("out_maps").iterdir()) == ["0_a-12.png", "1_00.png"]


def test_an_unfinished_table_with_pictures_goes_on(home: Path, ask: Ask, monkeypatch: pytest.MonkeyPatch) -> None:
    """The pictures lie in the folder that is predicted, and are no images of it."""
    monkeypatch.chdir("images")
    append = part_file.PartFile.append

    def once(self: part_file.PartFile, new: list[Row]) -> None:
        append(self, new)
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(part_file.PartFile, "append", once)
        assert ask("input=.", "explain=true")[0] == 130
    assert len(list(Path("predictions_maps").iterdir())) == 6  # of a batch of 8
    assert ask("input=.", "explain=true")[0] == 1
    assert len(rows()) == 40
    assert len(list(Path("predictions_maps").iterdir())) == 36


def test_views(home: Path, ask: Ask) -> None:
    for name, given in (
        ("plain", []),
        ("own", ["tta=2"]),
        ("asked", ["tta=2", "augment=strong"]),
        ("again", ["tta=2"]),
    ):
        assert ask("input=images", f"output={name}.csv", *given)[0] == 1
    values = {name: [row["prob_covid"] for row in rows(Path(f"{name}.csv"))] for name in ("plain", "own", "asked")}
    assert values["plain"] != values["own"] != values["asked"]
    assert Path("own.csv").read_bytes() == Path("again.csv").read_bytes()


def test_an_ensemble(home: Path, ask: Ask, tiny_run: Run) -> None:
    folder, _ = tiny_run
    checkpoints = [str(folder.checkpoints / f"epoch_00{epoch}.ckpt") for epoch in (0, 2)]
    Path("both").mkdir()
    members = [{"run": str(folder.path), "checkpoint": file} for file in checkpoints]
    Path("both/ensemble.json").write_text(json.dumps({"members": members, "classes": ["normal", "covid"]}))
    assert ask("input=images", "explain=true", model=Path("both"))[0] == 1
    for number, file in enumerate(checkpoints):
        assert ask("input=images", f"output={number}.csv", f"checkpoint={file}")[0] == 1
    for found, *single in zip(rows(), rows(Path("0.csv")), rows(Path("1.csv")), strict=True):
        if not found["error"]:
            mean = sum(float(row["prob_covid"]) for row in single) / 2
            assert float(found["prob_covid"]) == pytest.approx(mean, abs=1e-7)
            assert Path(found["map"]).is_file()


@pytest.mark.parametrize(
    ("given", "named"),
    [
        (["input=none"], ["input=none", "no such file", "CSV"]),
        ([], ["input=... is needed"]),
        (["input=images", "ouput=x.csv"], ["'ouput'", "'output'", "batch_size"]),
        (["input=images", "batch_size=0"], ["batch_size=0", ">= 1"]),
        (["input=images", "tta=x"], ["tta=x", "whole number"]),
        (["input=images", "explain=7"], ["explain=7", "true or false"]),
        (["input=images", "accelerator=gpuu"], ["accelerator=gpuu", "mps"]),
        (["input=images", "augment=light"], ["augment=light", "tta"]),
        (["input=images", "tta=1", "augment=rotate_zom"], ["augment=rotate_zom", "'rotate_zoom'"]),
        (["input=images", "tta=1", "augment=none"], ["tta=1", "augment=rotate_zoom"]),
        (["input=images", "checkpoint=epoch_007.ckpt"], ["checkpoint=epoch_007.ckpt", "epoch_002", "best"]),
        (["input=a,b"], ["input=a,b", "one value"]),
        (["input=images", "tta=1,2"], ["tta=1,2", "one value"]),
        (["input=empty"], ["input=empty", "no image"]),
        (["input=images", "output=images"], ["output=", "images"]),
        (["input=images", "output=x.xlsx"], ["output=x.xlsx", "ends in .csv"]),
        (["input=images", "output=images/00.png/x.csv"], ["nothing can be written into", "00.png"]),
        (["input=none", "output=x.xlsx"], ["input=none"]),
        (["input=images/notes.txt"], ["input=images/notes.txt", "no image"]),
    ],
)
def test_what_is_wrong_is_said(home: Path, ask: Ask, given: list[str], named: list[str]) -> None:
    (home / "empty").mkdir()
    code, _, err = ask(*given)
    assert (code, err[:15]) == (2, "medimg: error: "), err
    for words in named:
        assert words in err
    assert not list(home.glob("*.csv")) and not list(home.glob(".*part*"))


def test_a_run_that_is_not_there(home: Path, ask: Ask) -> None:
    code, _, err = ask("input=images", model=Path("nowhere"))
    assert code == 2 and "run=nowhere" in err


def test_mistakes_are_answered_before_torch_is_loaded(home: Path, tiny_run: Run) -> None:
    cases = [["run=latest", "input=x"], [f"run={tiny_run[0].path}", "input=none"], ["--help"]]
    cases += [[f"run={tiny_run[0].path}", "input=images", given] for given in ("checkpoint=5", "output=x.txt")]
    program = (
        "import sys\n"
        "from medimg.cli import main\n"
        f"print([main(['predict', *case]) for case in {cases!r}], file=sys.stderr)\n"
        "print(sorted({'torch', 'lightning', 'sklearn', 'matplotlib'} & set(sys.modules)), file=sys.stderr)\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=home, env=environment, capture_output=True, text=True, check=True
    )
    assert done.stderr.splitlines()[-2:] == ["[2, 2, 0, 2, 2]", "[]"]
