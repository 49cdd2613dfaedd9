"""Each kind of finding on data made for it, and none on data without faults."""

import shutil
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from drawn_data import draw
from medical_files import make_volume
from PIL import Image

from medimg.checks.findings import KINDS, RULES, Finding, Report, ordered
from medimg.checks.run import quick_checks, run_checks
from medimg.data.manifest import Manifest, Record
from medimg.data.problems import Problem


def kinds(report: Report) -> set[tuple[str, str]]:
    return {(finding.kind, finding.severity) for finding in report.findings}


def of(report: Report, kind: str) -> list[Finding]:
    return [finding for finding in report.findings if finding.kind == kind]


def with_more(manifest: Manifest, *more: Record) -> Manifest:
    return replace(manifest, records=(*manifest.records, *more))


def into_splits(manifest: Manifest) -> Manifest:
    """Every fourth image of each class is in test."""
    records = [replace(one, split="test" if i % 4 == 0 else "train") for i, one in enumerate(manifest.records)]
    return replace(manifest, records=tuple(records))


def test_every_kind_has_its_rule() -> None:
    assert KINDS.keys() == RULES.keys()


def test_nothing_is_found_where_nothing_is(tmp_path: Path) -> None:
    report = run_checks(draw(tmp_path, 60))
    assert report.findings == ()
    assert not report.severe
    assert report.counts == {"none": {"a": 30, "b": 30}}
    assert {one.measure for one in report.comparisons} == {"AUC"}
    assert not any(one.suspicious for one in report.comparisons)
    assert report.unit == "patients"


def bright_border(pixels: np.ndarray, label: str) -> np.ndarray:
    pixels[:4] += 40 * (label == "b")
    return pixels


def bright_middle(pixels: np.ndarray, label: str) -> np.ndarray:
    pixels[20:28, 20:28] += 60 * (label == "b")
    return pixels


def test_a_bright_border_is_a_shortcut_and_a_bright_middle_is_the_disease(tmp_path: Path) -> None:
    of_border, of_middle = (
        {one.what.split(" (")[0]: one for one in run_checks(draw(tmp_path / change.__name__, 60, change)).comparisons}
        for change in (bright_border, bright_middle)
    )
    assert of_border["the border of the images"].suspicious
    assert of_border["the border of the images"].value > 0.8
    assert not of_middle["the border of the images"].suspicious


def test_columns_and_properties(tmp_path: Path) -> None:
    manifest = draw(tmp_path, 60)
    for record in manifest.of(None)[:0] or manifest.records:
        if record.label == "b":
            image = Image.open(manifest.file(record)).convert("RGB")
            image.save(manifest.file(record))
    columns = [
        replace(one, columns={"hospital": "H1" if one.label == "a" else "H2", "view": "PA" if i % 3 else "AP"})
        for i, one in enumerate(manifest.records)
    ]
    for report in (
        run_checks(replace(manifest, records=tuple(columns))),
        quick_checks(replace(manifest, records=tuple(columns))),
    ):
        comparisons = {one.what: one for one in report.comparisons}
        assert comparisons["the column 'hospital'"].value > 0.95
        assert comparisons["the mode"].suspicious
        assert not comparisons["the column 'view'"].suspicious
        assert report.properties["mode"] == {"a": {"L": 30, "RGB": 0}, "b": {"L": 0, "RGB": 30}}
        assert {finding.severity for finding in of(report, "shortcut")} == {"warning"}
        assert all("suspicion" in finding.cure for finding in of(report, "shortcut"))


def test_files_that_are_broken_or_misnamed(tmp_path: Path) -> None:
    manifest = draw(tmp_path)
    empty, cut, text, jpeg, gone = (manifest.file(record) for record in manifest.records[:5])
    empty.write_bytes(b"")
    cut.write_bytes(cut.read_bytes()[:600])
    text.write_text("not an image")
    Image.open(jpeg).save(tmp_path / "x.jpg")
    shutil.move(tmp_path / "x.jpg", jpeg)
    gone.unlink()
    report = run_checks(manifest)
    broken = {finding.files for finding in of(report, "unreadable")}
    assert broken == {(record.path,) for i, record in enumerate(manifest.records[:5]) if i != 3}
    assert [finding.files for finding in of(report, "wrong_format")] == [(manifest.records[3].path,)]
    quick = {finding.files[0] for finding in of(quick_checks(manifest), "unreadable")}
    assert quick == {manifest.records[i].path for i in (0, 2, 4)}  # a cut file has its header


@pytest.mark.parametrize("quick", [True, False])
def test_copies(tmp_path: Path, quick: bool) -> None:
    manifest = into_splits(draw(tmp_path, 80))
    originals = [record for record in manifest.records if record.split == "train" and record.label == "a"][:3]
    targets = [("a/x.png", "a", "train"), ("a/y.png", "a", "test"), ("b/z.png", "b", "train")]
    for original, (path, _, _) in zip(originals, targets, strict=True):
        shutil.copy(manifest.file(original), tmp_path / path)
    more = [Record(path, label, split, patient_id=path) for path, label, split in targets]  # type: ignore[arg-type]
    report = (quick_checks if quick else run_checks)(with_more(manifest, *more))
    found = {(one.kind, one.severity, one.files) for one in report.findings}
    assert found == {
        ("duplicate", "warning", (originals[0].path, "a/x.png")),
        ("duplicate", "severe", (originals[1].path, "a/y.png")),
        ("label_conflict", "severe", (originals[2].path, "b/z.png")),
    }


@pytest.mark.parametrize(
    ("patients", "splits", "severity"),
    [
        (("p", "q"), ("train", "test"), "warning"),  # the ids speak against it
        ((None, None), ("train", "test"), "severe"),
        ((None, None), (None, None), "warning"),
        (("p", "p"), (None, None), "note"),
        ((None, None), ("train", "train"), "note"),
    ],
)
def test_near_duplicates(
    tmp_path: Path, patients: tuple[str | None, str | None], splits: tuple[str | None, str | None], severity: str
) -> None:
    manifest = draw(tmp_path, 20, size=96)
    if splits[0]:
        manifest = into_splits(manifest)
    one = manifest.records[1]
    Image.open(manifest.file(one)).resize((64, 64), Image.Resampling.LANCZOS).save(tmp_path / "a" / "x.png")
    first = replace(one, patient_id=patients[0], split=splits[0])  # type: ignore[arg-type]
    second = Record("a/x.png", "a", splits[1], patients[1])  # type: ignore[arg-type]
    others = [record for record in manifest.records if record != one]
    report = run_checks(replace(manifest, records=(*others, first, second)))
    assert [(found.severity, found.files) for found in of(report, "near_duplicate")] == [
        (severity, (one.path, "a/x.png"))
    ]


def test_patients(tmp_path: Path) -> None:
    manifest = into_splits(draw(tmp_path, 80))
    torn = [manifest.records[0], manifest.records[1]]  # test and train
    mixed = [
        next(record for record in manifest.records[5:] if record.label == label and record.split == "train")
        for label in "ab"
    ]
    unknown = manifest.records[-1]
    records = [
        replace(
            one,
            patient_id="torn"
            if one in torn
            else "mixed"
            if one in mixed
            else None
            if one == unknown
            else one.patient_id,
        )
        for one in manifest.records
    ]
    report = quick_checks(replace(manifest, records=tuple(records)))
    found = {one.kind: (one.severity, one.files) for one in report.findings}
    assert found == {
        "patient_leak": ("severe", tuple(record.path for record in torn)),
        "patient_labels": ("note", tuple(record.path for record in mixed)),
        "patient_unknown": ("note", (unknown.path,)),
    }


def test_classes(tmp_path: Path) -> None:
    manifest = into_splits(draw(tmp_path, 80))
    kept = [one for one in manifest.records if not (one.split == "test" and one.label == "b")]
    kept = [
        *kept,
        *(replace(one, path=f"c/{i}.png", file=one.path, label="c", split="test") for i, one in enumerate(kept[:3])),
    ]
    report = quick_checks(replace(manifest, records=tuple(kept), classes=("a", "b", "c")))
    messages = {(one.kind, one.severity, one.message) for one in report.findings if "class" in one.kind}
    assert messages == {
        ("missing_class", "warning", "Class 'b' has no image in test."),
        ("missing_class", "severe", "Class 'c' has no image in train."),
        ("small_class", "note", "Class 'c' has 3 images in test."),
    }


def test_problems_of_the_listing_become_findings(tmp_path: Path) -> None:
    manifest = draw(tmp_path)
    problems = [
        Problem("class_mismatch", "c is none.", "Rename it.", (f"{tmp_path}/c/1.png",)),
        Problem("other_files", "notes.txt was left out.", refused=False),
    ]
    report = run_checks(manifest, problems)
    assert kinds(report) == {("class_mismatch", "severe"), ("other_files", "note")}
    assert of(report, "class_mismatch")[0].files == ("c/1.png",)
    assert report.severe


def test_the_worst_comes_first() -> None:
    made = [Finding("other_files", "note", (), "", ""), Finding("shortcut", "warning", (), "", "")]
    assert ordered([*made, Finding("unreadable", "severe", (), "", "")])[0].kind == "unreadable"
    assert ordered(made)[0].kind == "shortcut"


def test_too_few_images_tell_nothing(tmp_path: Path) -> None:
    manifest = draw(tmp_path, 6)
    assert run_checks(manifest).comparisons == ()
    one_class = replace(manifest, records=tuple(r for r in manifest.records if r.label == "a"), classes=("a",))
    assert run_checks(one_class).comparisons == ()


def test_groups_stand_in_for_patients(tmp_path: Path) -> None:
    manifest = draw(tmp_path, 60)
    grouped = [replace(one, patient_id=None, group=f"g{i // 6}") for i, one in enumerate(manifest.records)]
    report = run_checks(replace(manifest, records=tuple(grouped)))
    assert report.unit == "groups"
    assert {one.kind: one.message for one in report.findings} == {
        "patient_groups": "10 groups of 60 images stand in for patients; the largest has 6 images."
    }


def test_a_group_in_two_splits_is_a_suspicion(tmp_path: Path) -> None:
    manifest = into_splits(draw(tmp_path, 80))
    together = [one.path for one in manifest.records[:2]]  # test and train
    records = [
        replace(one, patient_id=None, group="g" if one.path in together else one.path) for one in manifest.records
    ]
    (found,) = of(quick_checks(replace(manifest, records=tuple(records))), "group_leak")
    assert (found.severity, found.files) == ("warning", tuple(together))
    assert "Group 'g' stands in more than one split: 2 images, 1 in train and 1 in test." in found.message


@pytest.mark.parametrize(
    ("patient", "group", "cure"),
    [
        (None, None, "data.group_by=near_duplicates"),
        ("own", None, "giving them the same patient_id"),
        ("p", None, "their patient keeps them"),
        (None, "g", "their group keeps them"),
    ],
)
def test_the_cure_of_copies_is_one_that_can_work(
    tmp_path: Path, patient: str | None, group: str | None, cure: str
) -> None:
    """data.group_by is refused where patients are known, and needless where groups are."""
    manifest = into_splits(draw(tmp_path, 80))
    pair = [manifest.records[0], manifest.records[1]]
    shutil.copy(manifest.file(pair[0]), manifest.file(pair[1]))
    records = [
        replace(one, patient_id=one.path if patient == "own" else patient, group=group) if one in pair else one
        for one in manifest.records
    ]
    (found,) = of(quick_checks(replace(manifest, records=tuple(records))), "duplicate")
    assert cure in found.cure
    assert found.cure.startswith("Keep one of them, in one split.")


def test_volumes_have_the_size_that_was_seen(tmp_path: Path) -> None:
    nifti = make_volume(tmp_path / "a" / "x.nii.gz", np.full((5, 7, 2), 9, np.uint8))
    records = [Record(f"a/x#{i}", "a", file=str(nifti), frame=i) for i in range(2)]
    report = run_checks(Manifest(tmp_path, tuple(records), classes=("a",)))
    assert report.properties["image size"] == {"a": {"7x5": 2}}


def test_blank_images_are_no_cause_for_warnings(tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        report = run_checks(draw(tmp_path, 40, lambda pixels, label: np.zeros_like(pixels)))
    assert not of(report, "shortcut")
    assert [len(one.files) for one in of(report, "label_conflict")] == [40]
