"""The quick check of the same data is made once; whatever it depends on makes it be made again."""

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from drawn_data import draw

from medimg.checks.findings import Report
from medimg.checks.kept import kept_report
from medimg.checks.run import quick_checks
from medimg.data.manifest import Manifest


@pytest.fixture
def made() -> tuple[list[Manifest], Callable[[Manifest], Report]]:
    """What was checked, and a check that notes it."""
    checked: list[Manifest] = []

    def work(manifest: Manifest) -> Report:
        checked.append(manifest)
        return quick_checks(manifest)

    return checked, work


Made = tuple[list[Manifest], Callable[[Manifest], Report]]


def in_two_splits(root: Path) -> Manifest:
    manifest = draw(root, 40)
    columns = [{"site": str(i % 3)} for i in range(40)]
    records = [
        replace(one, split="test" if i % 4 else "train", columns=columns[i]) for i, one in enumerate(manifest.records)
    ]
    return replace(manifest, records=tuple(records))


def test_the_second_time_it_is_read(tmp_path: Path, made: Made) -> None:
    manifest = in_two_splits(tmp_path / "data")
    first = kept_report(manifest, tmp_path / "cache", made[1])
    again = kept_report(replace(manifest), tmp_path / "cache", made[1])
    assert first.findings and first.comparisons and first.properties
    assert again == first
    assert len(made[0]) == 1
    assert kept_report(manifest, None, made[1]) == first
    assert len(made[0]) == 2


def split_moved(manifest: Manifest) -> Manifest:
    first, *others = manifest.records
    return replace(manifest, records=(replace(first, split="val"), *others))


def column_changed(manifest: Manifest) -> Manifest:
    first, *others = manifest.records
    return replace(manifest, records=(replace(first, columns={"site": "x"}), *others))


def grouped(manifest: Manifest) -> Manifest:
    return replace(manifest, records=tuple(replace(one, group="g") for one in manifest.records))


def file_touched(manifest: Manifest) -> Manifest:
    """As when its header was mended in place: neither its length nor its middle has changed."""
    os.utime(manifest.file(manifest.records[0]), (1, 1))
    return replace(manifest)


@pytest.mark.parametrize("change", [split_moved, column_changed, grouped, file_touched])
def test_other_data_is_checked_anew(tmp_path: Path, made: Made, change: Callable[[Manifest], Manifest]) -> None:
    manifest = in_two_splits(tmp_path / "data")
    kept_report(manifest, tmp_path / "cache", made[1])
    other = change(manifest)
    assert kept_report(other, tmp_path / "cache", made[1]) == quick_checks(other)
    assert len(made[0]) == 2


def test_where_a_file_is_missing_it_is_made_each_time_and_says_so(tmp_path: Path, made: Made) -> None:
    manifest = in_two_splits(tmp_path / "data")
    gone = manifest.records[0]
    manifest.file(gone).unlink()
    for _ in range(2):
        report = kept_report(manifest, tmp_path / "cache", made[1])
        assert [one.files for one in report.findings if one.kind == "unreadable"] == [(gone.path,)]
    assert len(made[0]) == 2


def test_what_is_broken_is_made_anew(tmp_path: Path, made: Made, caplog: pytest.LogCaptureFixture) -> None:
    manifest = in_two_splits(tmp_path / "data")
    first = kept_report(manifest, tmp_path / "cache", made[1])
    (store,) = (tmp_path / "cache/checks").iterdir()
    for content in (b"", b"{}", b"no json", b'{"findings": [{"kind": 3}], "counts": {}}'):
        store.write_bytes(content)
        assert kept_report(manifest, tmp_path / "cache", made[1]) == first
    assert len(made[0]) == 5
    assert "is made again" in caplog.text
    assert kept_report(manifest, tmp_path / "cache", made[1]) == first
    assert len(made[0]) == 5


def test_a_cache_that_cannot_be_written_costs_nothing_else(
    tmp_path: Path, made: Made, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "cache").write_text("a file")
    assert kept_report(in_two_splits(tmp_path / "data"), tmp_path / "cache", made[1]).counts
    assert "cannot be kept" in caplog.text
