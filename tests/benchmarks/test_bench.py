import json
import subprocess
import sys
from pathlib import Path
from statistics import median

import lightning as L
import numpy as np
import pytest
from lightning.pytorch.callbacks import Callback
from PIL import Image

from medimg.config import ImageFolderConfig, SmallCNNConfig
from medimg.data.datamodule import ImageDataModule
from medimg.models.classifier import ImageClassifier

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def _from_the_checkout(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(ROOT)


def test_the_median_of_the_pairs_is_judged_and_not_the_pair_of_the_medians() -> None:
    from benchmarks.bench.ratios import Case, Line, measure

    ours, theirs, ran = iter([2.0, 9.0, 4.0]), iter([1.0, 10.0, 1.0]), []

    def variant(name, values):
        def run():
            ran.append(name)
            return {"wall_s": next(values)}

        return run

    lines = [
        Line("at most 2", lambda found: found["a"]["wall_s"] / found["b"]["wall_s"], 2.0),
        Line("at least 2.5", lambda found: found["a"]["wall_s"] / found["b"]["wall_s"], 2.5, at_least=True),
        Line("shown", lambda found: found["a"]["wall_s"]),
    ]
    result = measure(Case("case", {"a": variant("a", ours), "b": variant("b", theirs)}, lines), 3, lambda _: None)
    assert ran == ["a", "b", "b", "a", "a", "b"]
    at_most, at_least, shown = result.as_dict()["lines"]
    assert at_most["ratios"] == [2.0, 0.9, 4.0]
    assert (at_most["median"], at_most["min"], at_most["max"]) == (median([2.0, 0.9, 4.0]), 0.9, 4.0)
    assert (at_most["holds"], at_least["holds"], shown["holds"]) == (True, False, None)


@pytest.mark.parametrize(
    ("kb", "plain_kb", "late_s", "memory_holds", "time_holds"),
    [(15, 0, 0.01, True, True), (30, 0, 0.01, False, True), (30, 40, 0.01, True, True), (0, 0, 0.02, True, False)],
)
def test_growth_is_judged_by_the_slopes_alone(
    kb: float, plain_kb: float, late_s: float, memory_holds: bool, time_holds: bool
) -> None:
    """The start-up, 10 seconds and 1 GiB, is the same at all sizes: 100, 400 and 1,600 images."""
    from benchmarks.bench.cases import growth
    from benchmarks.bench.commands import Bench
    from benchmarks.bench.images import Images
    from benchmarks.bench.ratios import Result

    bench = Bench(Images(Path("images"), "val", 80, 20), None, "resnet18", 32, 8, 1, Path("loop.py"), Path("work"))
    result = Result(growth(bench))
    figures = {}
    for times in (1, 4, 16):
        images = 100 * times
        seconds = 10 + 0.01 * min(images, 400) + late_s * max(0, images - 400)
        memory = {"medimg": 1024 + kb * images / 1024, "plain": 1024 + plain_kb * images / 1024}
        for name, tree in memory.items():
            figures[f"{name} {times}x"] = {"wall_s": seconds, "tree_mb": tree, "peak_mb": tree}
    result.repetitions.append(figures)
    slopes = {verdict.what: verdict for verdict in result.verdicts() if verdict.what.startswith("slope of")}
    time, memory_ratio, early, late = slopes.values()
    assert (time.median, time.holds) == (pytest.approx(late_s / 0.01), time_holds)
    assert (memory_ratio.median, memory_ratio.holds) == (pytest.approx(kb / max(20, plain_kb)), memory_holds)
    assert [early.median, late.median] == pytest.approx([kb, kb], abs=1e-6)
    assert {verdict.holds for verdict in result.verdicts() if "start-up" in verdict.what} == {None}


def test_the_table_says_what_holds_and_what_was_left_out() -> None:
    from benchmarks.bench.table import table

    line = {"ratios": [], "median": 0.1234, "min": 0.1, "max": 1.5, "limit": 0.2, "at_least": False, "holds": True}
    slow = line | {"median": 12.345, "limit": 20.0, "at_least": True, "holds": False}
    results = [
        {"case": "one", "lines": [line | {"what": "fast"}, slow | {"what": "slow"}]},
        {"case": "gpu", "skipped": "no GPU"},
    ]
    assert table(results).splitlines()[2:] == [
        "| fast | 0.123 | 0.100 to 1.50 | ≤ 0.20 | yes |",
        "| slow | 12.35 | 0.100 to 1.50 | ≥ 20.00 | **no** |",
        "| gpu | no GPU | | | |",
    ]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Class folders of noise, with patients."""
    rows = ["path,patient_id"]
    for split, count in (("train", 5), ("test", 2)):
        for name in ("a", "b"):
            (tmp_path / "images" / split / name).mkdir(parents=True)
            for number in range(count):
                pixels = np.random.default_rng(number).integers(0, 256, (12, 8), dtype=np.uint8)
                Image.fromarray(pixels).save(tmp_path / "images" / split / name / f"{number}.png")
                rows.append(f"{split}/{name}/{number}.png,{split}{name}{number}")
    (tmp_path / "images" / "metadata.csv").write_text("\n".join(rows) + "\n")
    return tmp_path / "images"


def test_more_images_are_all_different_ones_of_other_patients(folder: Path, tmp_path: Path) -> None:
    from benchmarks.bench.images import fewer, images_in, more

    images = images_in(folder)
    assert (images.held_out, images.train, images.held) == ("test", 10, 4)
    few = fewer(images, 1, tmp_path / "few")
    many = more(few, 16, tmp_path / "many")
    assert (few.total, many.train, many.held) == (4, 32, 32)
    seen = {np.asarray(Image.open(file)).tobytes() for file in (tmp_path / "many" / "train" / "a").iterdir()}
    assert len(seen) == 16
    rows = (tmp_path / "many" / "metadata.csv").read_text().splitlines()[1:]
    assert len(rows) == 64
    assert len({row.partition(",")[2] for row in rows}) == 4 * 16
    assert all((tmp_path / "many" / row.partition(",")[0]).is_file() for row in rows)


def test_folders_that_cannot_be_measured_on_are_refused(tmp_path: Path) -> None:
    from benchmarks.bench.images import images_in
    from benchmarks.bench.process import BenchError

    (tmp_path / "train").mkdir()
    with pytest.raises(BenchError, match="val/ or test/"):
        images_in(tmp_path)


def test_memory_is_that_of_the_process_and_of_those_that_it_starts(tmp_path: Path) -> None:
    """Measured from a process that is as small as the command's own."""
    child = "import time; kept = b'1' * 60_000_000; time.sleep(1.6)"
    parent = "import subprocess as s, sys; kept = b'1' * 90_000_000; s.run([sys.executable, '-c', sys.argv[1]])"
    code = (
        "import sys; from pathlib import Path; from benchmarks.bench.process import run\n"
        f"found = run([sys.executable, '-c', {parent!r}, {child!r}], Path({str(tmp_path / 'log')!r}))\n"
        "print(found.wall_s, found.peak_mb, found.tree_mb)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    wall, peak, tree = map(float, done.stdout.split())
    assert wall >= 1.6
    assert 90 < peak < 140 < tree < 220


def test_a_command_that_fails_says_why(tmp_path: Path) -> None:
    from benchmarks.bench.process import BenchError, run

    with pytest.raises(BenchError, match=r"exit code 3.*\nno such thing"):
        run([sys.executable, "-c", "import sys; print('no such thing'); sys.exit(3)"], tmp_path / "log")


def test_the_plain_loop_trains_what_it_should(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from benchmarks import plain_loop

    options = ["--val", "test", "--epochs", "2", "--batch-size", "4", "--size", "32", "--workers", "0", "--frozen"]
    monkeypatch.setattr(sys, "argv", ["plain_loop.py", str(folder), *options])
    network = plain_loop.network(plain_loop.arguments(), 2)
    trained = [name for name, weight in network.named_parameters() if weight.requires_grad]
    assert trained == ["classifier.1.weight", "classifier.1.bias"]
    plain_loop.main()
    found = json.loads(capsys.readouterr().out)
    assert (found["train"], found["val"]) == (10, 4)
    assert found["acc"] in {0.0, 0.25, 0.5, 0.75, 1.0}
    assert found["train_img_s"] > 0
    assert found["import_s"] < found["first_step_s"]


def test_the_clock_sees_all_of_training_and_nothing_of_validation(
    folder: Path, tmp_path: Path, session_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import time

    from benchmarks.bench.clock import Clock
    from benchmarks.bench.process import CLOCK, STARTED

    class SlowValidation(Callback):
        def on_validation_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
            time.sleep(1.5)

    begin = time.monotonic()
    monkeypatch.setenv(STARTED, str(begin - 100))
    monkeypatch.setenv(CLOCK, str(tmp_path / "clock.json"))
    model = ImageClassifier(SmallCNNConfig(widths=(4,)), ("a", "b"), image_size=16)
    data = ImageDataModule(ImageFolderConfig(root=str(folder), num_workers=0, batch_size=4), cache=session_cache)
    trainer = L.Trainer(
        max_epochs=2, accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False,
        enable_model_summary=False, num_sanity_val_steps=0, callbacks=[Clock(), SlowValidation()],
        use_distributed_sampler=False, default_root_dir=tmp_path,
    )  # fmt: skip
    trainer.fit(model, datamodule=data)
    took = time.monotonic() - begin
    found = json.loads((tmp_path / "clock.json").read_text())
    assert [epoch["images"] for epoch in found["epochs"]] == [len(data.manifest.of("train"))] * 2
    assert 0 < sum(epoch["seconds"] for epoch in found["epochs"]) < took - 3.0
    assert 100 < found["first_step_s"] < 100 + took


def test_the_command_measures_and_writes_what_it_found(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The loader alone, which is the cheapest; the rest costs many seconds of imports."""
    from benchmarks.bench.__main__ import main

    out = tmp_path / "bench.json"
    assert main(["--quick", "--case", "loader", "--data", str(folder), "--out", str(out)]) == 0
    (case,) = json.loads(out.read_text())["cases"]
    (one,), (line,) = case["repetitions"], case["lines"]
    assert one["plain"]["images"] == 2 * 10  # the first of three epochs is not counted
    assert one["medimg"]["images"] == 19 * 8  # two are its validation split
    assert line["ratios"] == [one["medimg"]["img_s"] / one["plain"]["img_s"]]
    assert f"| loader alone, images/s / ImageFolder | {line['median']:.2f} |" in capsys.readouterr().out
