import csv
import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from medimg.commands.evaluate import main
from medimg.config.data import DataConfig
from medimg.config.training import TrainConfig
from medimg.data.manifest import read_manifest_csv
from medimg.errors import RequestError
from medimg.evaluation.predictions import Predictions
from medimg.inference.evaluate import evaluate_run
from medimg.inference.loading import load_classifier
from medimg.models.tta import TestTimeAugmentation as Views
from medimg.reporting.scores import notes
from medimg.runs import RunFolder

Run = tuple[RunFolder, TrainConfig]


@pytest.fixture
def run(tiny_run: Run, tmp_path: Path) -> RunFolder:
    """A copy, to be written to."""
    return RunFolder(Path(shutil.copytree(tiny_run[0].path, tmp_path / "run")))


@pytest.fixture
def other_images(run: RunFolder, tmp_path: Path) -> Path:
    """Class folders without a split: the run's test images, each a little changed."""
    root = tmp_path / "elsewhere"
    manifest = read_manifest_csv(run.manifest_file)
    for record in manifest.of("test"):
        target = root / record.label / Path(record.path).name
        target.parent.mkdir(parents=True, exist_ok=True)
        pixels = np.asarray(Image.open(manifest.file(record))).copy()
        pixels[0, 0] ^= 1
        Image.fromarray(pixels).save(target)
    return root


def results(folder: RunFolder) -> dict:
    return json.loads(folder.results_file.read_text())


def test_a_new_process_gives_the_numbers_of_the_run(run: RunFolder) -> None:
    before = {name: (run.path / name).read_bytes() for name in ("results.json", "predictions/test.csv")}
    command = [sys.executable, "-m", "medimg", "evaluate", f"run={run.path}", "split=test"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert {name: (run.path / name).read_bytes() for name in before} == before
    assert f"{results(run)['test']['f1_macro']:.3f}" in done.stdout


def test_a_split_that_was_not_looked_at_is_added(run: RunFolder) -> None:
    before = results(run)
    run.predictions("test").unlink()
    evaluate_run(run, split="train")
    after = results(run)
    assert set(after["ci95"]) == {"val", "train"}
    assert after["val"] == before["val"]
    table = Predictions.read_csv(run.predictions("train"))
    assert after["train"]["accuracy"] == pytest.approx((table.predicted == table.labels).mean())


def test_another_checkpoint_goes_below_evaluations(run: RunFolder) -> None:
    before = run.results_file.read_bytes()
    (one,) = evaluate_run(run, checkpoint="last")
    assert one.folder.path == run.path / "evaluations" / "last"
    assert run.results_file.read_bytes() == before
    with run.metrics_file.open() as stream:
        last = list(csv.DictReader(stream))[-1]
    assert results(one.folder)["best_epoch"] == int(last["epoch"])
    for name in ("f1_macro", "auroc", "sensitivity/covid"):
        assert results(one.folder)["val"][name] == pytest.approx(float(last[f"val/{name}"]), abs=1e-6)


def test_an_epoch_that_was_kept_is_meant_by_its_name(run: RunFolder) -> None:
    (one,) = evaluate_run(run, checkpoint="epoch_001")
    assert (one.checkpoint.epoch, one.folder.path.name) == (1, "epoch_001")


def test_it_is_said_that_a_run_was_interrupted(run: RunFolder, capsys: pytest.CaptureFixture[str]) -> None:
    run.update(status="interrupted")
    assert main([f"run={run.path}"]) == 0
    assert "was interrupted after 3 of 3 epochs" in capsys.readouterr().err


def test_all_is_a_row_for_each_epoch(run: RunFolder, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([f"run={run.path}", "checkpoint=all"]) == 0
    printed = capsys.readouterr().out
    assert "no honest choice" in printed
    with (run.path / "evaluations" / "epochs" / "test.csv").open() as stream:
        table = list(csv.DictReader(stream))
    assert [row["epoch"] for row in table] == ["0", "1", "2"]
    chosen = results(run)
    assert float(table[chosen["best_epoch"]]["accuracy"]) == chosen["test"]["accuracy"]
    best = max(table, key=lambda row: float(row["f1_macro"]))  # the first of equals
    assert f"Best macro-F1: {float(best['f1_macro']):.3f} " in printed and f") in epoch {best['epoch']}." in printed
    honest = table[chosen["best_epoch"]]
    (last,) = [line for line in printed.splitlines() if line.startswith(f"Validation chose epoch {honest['epoch']}")]
    for name, title in (("accuracy", "accuracy"), ("f1_macro", "macro-F1")):
        assert f"{title} {float(honest[name]):.3f} (" in last
    assert all(float(row["accuracy_low"]) <= float(row["accuracy"]) <= float(row["accuracy_high"]) for row in table)


def test_other_images_are_all_test_images(run: RunFolder, other_images: Path) -> None:
    (one,) = evaluate_run(run, values={"data.root": str(other_images)})
    assert one.folder.path.parent == run.path / "evaluations"
    found = Predictions.read_csv(one.folder.predictions("test"))
    own = Predictions.read_csv(run.predictions("test"))
    assert sorted(Path(path).name for path in found.paths) == sorted(Path(path).name for path in own.paths)
    assert not one.folder.predictions("val").exists()
    assert "Split by image" not in "".join(notes(one.results, "test"))


def test_the_runs_own_images_are_recognised_where_they_were_moved(run: RunFolder, tmp_path: Path) -> None:
    root = read_manifest_csv(run.manifest_file).file(read_manifest_csv(run.manifest_file).records[0]).parents[2]
    moved = Path(shutil.copytree(root, tmp_path / "moved"))
    config = run.read_config()
    shared = {name: config["data"][name] for name in DataConfig.__struct_fields__}
    config["data"] = {**shared, "_target_": "medimg.data.ImageFolderDataModule", "root": str(tmp_path / "gone")}
    run.write_config(config)
    before = results(run)
    (one,) = evaluate_run(run, values={"data.root": str(moved)})
    assert one.folder == run
    assert results(run) == before | {"synthetic": False}


def test_a_class_that_other_images_lack_is_named(run: RunFolder, other_images: Path) -> None:
    shutil.rmtree(other_images / "covid")
    (one,) = evaluate_run(run, values={"data.root": str(other_images)})
    assert one.results["evaluation"]["test"]["absent"] == ["covid"]
    assert np.isnan(one.results["test"]["sensitivity/covid"])


def test_images_that_the_run_was_trained_on_are_refused(run: RunFolder, other_images: Path) -> None:
    manifest = read_manifest_csv(run.manifest_file)
    shutil.copy(manifest.file(manifest.of("train")[0]), other_images / "normal" / "renamed.png")
    with pytest.raises(RequestError, match=r"1 of these \d+ images \('normal/renamed.png'\)"):
        evaluate_run(run, values={"data.root": str(other_images)})


def test_images_that_the_run_was_chosen_by_are_refused(run: RunFolder, other_images: Path) -> None:
    manifest = read_manifest_csv(run.manifest_file)
    shutil.copy(manifest.file(manifest.of("val")[0]), other_images / "normal" / "renamed.png")
    said = (
        r"1 of these \d+ images \('normal/renamed.png'\) are validation images of .*epoch, thresholds and temperature"
    )
    with pytest.raises(RequestError, match=said):
        evaluate_run(run, values={"data.root": str(other_images)})


def test_the_runs_own_test_images_elsewhere_are_named(
    run: RunFolder, other_images: Path, caplog: pytest.LogCaptureFixture
) -> None:
    manifest = read_manifest_csv(run.manifest_file)
    shutil.copy(manifest.file(manifest.of("test")[0]), other_images / "normal" / "copied.png")
    with caplog.at_level("INFO", "medimg.inference.images"):
        evaluate_run(run, values={"data.root": str(other_images)})
    assert "('normal/copied.png') are test images of" in caplog.text


def test_other_images_at_the_same_place_do_not_replace_results(run: RunFolder, other_images: Path) -> None:
    values = {"data.root": str(other_images)}
    before, again = (evaluate_run(run, values=values)[0] for _ in range(2))
    assert again.folder == before.folder
    written = before.folder.results_file.read_bytes()
    next((other_images / "normal").iterdir()).unlink()
    after = evaluate_run(run, values=values)[0]
    assert after.folder != before.folder and before.folder.results_file.read_bytes() == written


def test_a_foreign_class_is_refused(run: RunFolder, other_images: Path) -> None:
    (other_images / "normal").rename(other_images / "flu")
    with pytest.raises(RequestError, match="'flu' is none of the expected classes"):
        evaluate_run(run, values={"data.root": str(other_images)})


def test_varied_views_are_averaged(run: RunFolder, tiny_run: Run) -> None:
    config = tiny_run[1]
    (one,) = evaluate_run(run, tta=Views(config.augment, 2, 3))
    assert one.folder.path.name.startswith("tta-2-")
    plain = Predictions.read_csv(run.predictions("test")).probabilities
    varied = Predictions.read_csv(one.folder.predictions("test")).probabilities
    assert 0 < np.abs(varied - plain).max() < 0.5


def test_what_fails_leaves_what_was_there(run: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    before = {name: (run.path / name).read_bytes() for name in ("results.json", "predictions/test.csv")}

    def broken(*_: object) -> None:
        raise RequestError("an image is damaged")

    monkeypatch.setattr("medimg.inference.evaluate.predicted_table", broken)
    with pytest.raises(RequestError, match="damaged"):
        evaluate_run(run)
    assert {name: (run.path / name).read_bytes() for name in before} == before


def test_settings_of_the_evaluation_are_recorded(run: RunFolder) -> None:
    assert main([f"run={run.path}", "evaluation.patient_score=max"]) == 0
    assert results(run)["settings"]["patient_score"] == "max"


@pytest.mark.parametrize("key", ["data.positive_class=normal", "data.image_size=8", "data.patient_regex=(.)"])
def test_keys_that_cannot_act_are_refused(run: RunFolder, key: str) -> None:
    before = run.results_file.read_bytes()
    with pytest.raises(RequestError, match="cannot be given for a trained model"):
        main([f"run={run.path}", key])
    assert run.results_file.read_bytes() == before


def test_a_checkpoint_of_another_split_is_refused(run: RunFolder, tmp_path: Path) -> None:
    copied = tmp_path / "mine.ckpt"
    shutil.copy(run.last, copied)
    (one,) = evaluate_run(run, checkpoint=str(copied))
    assert one.folder.path.name.startswith("mine-")
    content = torch.load(copied, weights_only=True)
    content["run"]["data_fingerprint"] = "0" * 64
    torch.save(content, copied)
    with pytest.raises(RequestError, match="is of another run"):
        evaluate_run(run, checkpoint=str(copied))


def test_tables_of_another_checkpoint_are_not_taken_over(run: RunFolder) -> None:
    evaluate_run(run, checkpoint="last")
    content = torch.load(run.last, weights_only=True)
    for weights in content["state_dict"].values():
        if weights.is_floating_point():
            weights.zero_()
    torch.save(content, run.last)
    (second,) = evaluate_run(run, checkpoint="last")
    assert not Predictions.read_csv(second.folder.predictions("val")).logits.any()


def test_views_are_asked_for_by_number(run: RunFolder, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([f"run={run.path}", "tta=1", "augment=light"]) == 0
    assert "evaluations/tta-1-" in capsys.readouterr().out
    with pytest.raises(RequestError, match="tta=many: expected whole number"):
        main([f"run={run.path}", "tta=many"])
    with pytest.raises(RequestError, match="no effect without tta"):
        main([f"run={run.path}", "augment=light"])


def test_what_there_is_not_is_said(run: RunFolder) -> None:
    with pytest.raises(RequestError, match=r"there is no file nothing\.ckpt"):
        evaluate_run(run, checkpoint="nothing.ckpt")
    with pytest.raises(RequestError, match="Did you mean 'test'"):
        main([f"run={run.path}", "split=tset"])
    with pytest.raises(RequestError, match="Did you mean 'checkpoint'"):
        main([f"run={run.path}", "chekpoint=last"])
    for file in run.checkpoints.glob("epoch_*.ckpt"):
        file.unlink()
    with pytest.raises(RequestError, match="every_epoch=true"):
        evaluate_run(run, checkpoint="all")


def test_a_run_is_compared_with_itself_and_with_another(
    run: RunFolder, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    twin = RunFolder(Path(shutil.copytree(run.path, tmp_path / "twin")))
    assert main([f"run={run.path}", f"compare={twin.path}"]) == 0
    assert "0.000 (0.000 to 0.000)" in capsys.readouterr().out
    state = torch.load(twin.best, weights_only=True)
    for weights in state["state_dict"].values():
        if weights.is_floating_point():
            weights.zero_()
    torch.save(state, twin.best)
    evaluate_run(twin)
    assert main([f"run={run.path}", f"compare={twin.path}"]) == 0
    (file,) = (run.path / "comparisons").iterdir()
    found = {one["metric"]: one for one in json.loads(file.read_text())["comparisons"]}
    assert found["accuracy"]["a"] == pytest.approx(results(run)["test"]["accuracy"])
    assert found["accuracy"]["b"] == pytest.approx(0.5)
    assert load_classifier(twin) is not None
