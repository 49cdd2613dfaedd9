"""What is listed is what the code that keeps things writes, and clearing removes that and nothing else."""

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
from drawn_data import draw

from medimg.checks.kept import kept_report
from medimg.checks.run import quick_checks
from medimg.config.data import CovidPhantomConfig, CTPhantomConfig
from medimg.data.cache import digests
from medimg.data.cache.contents import HELD, Held, Part, clear, contents
from medimg.data.cache.entries import KINDS
from medimg.data.cache.in_use import _held, hold
from medimg.data.cache.opening import Cache
from medimg.data.manifest import Manifest
from medimg.data.phantoms import draw_covid_phantoms, draw_ct_phantoms
from medimg.data.readable import without_unreadable
from medimg.data.signatures import signatures


def write_table(kind: Any) -> Callable[[Manifest, Path], object]:
    def write(manifest: Manifest, cache: Path) -> None:
        about = {"name": f"{kind} of {manifest.root}", "rows": 3, "shape": [2, 5]}
        rows = Cache(cache, "disk").open(kind, {"of": kind}, about, number=3, shape=(2, 5), itemsize=1)
        assert rows is not None
        rows.put(0, np.zeros((2, 5), dtype=np.uint8))

    return write


def draw_both(_: Manifest, cache: Path) -> None:
    draw_ct_phantoms(CTPhantomConfig(size=16, patients_per_class=1, images_per_patient=1), cache)
    draw_covid_phantoms(CovidPhantomConfig(size=16, patients_per_class=1, images_per_patient=1), cache)


def digest(manifest: Manifest, cache: Path) -> None:
    digests.file_digests([manifest.file(record) for record in manifest.records], cache)


# each by the code that a run uses
WRITERS: dict[Held, Callable[[Manifest, Path], object]] = {
    "images": write_table("images"),
    "features": write_table("features"),
    "phantoms": draw_both,
    "signatures": lambda manifest, cache: signatures(manifest, cache=cache),
    "digests": digest,
    "readable": without_unreadable,
    "checks": lambda manifest, cache: kept_report(manifest, cache, quick_checks),
}


def release() -> None:
    """As if the process that reads phantoms had ended."""
    while _held:
        os.close(_held.popitem()[1])


@pytest.fixture
def full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache with something of everything."""
    real = time.time_ns
    monkeypatch.setattr(digests.time, "time_ns", lambda: real() + 60 * 10**9)
    manifest, cache = draw(tmp_path / "data", 4), tmp_path / "cache"
    for write in WRITERS.values():
        write(manifest, cache)
    release()
    return cache


def by_kind(cache: Path) -> dict[str, Part]:
    return {part.kind: part for part in contents(cache)}


def files(folder: Path) -> set[str]:
    return {str(file.relative_to(folder)) for file in folder.rglob("*") if file.is_file()}


def test_everything_that_is_kept_is_listed(full: Path) -> None:
    parts = by_kind(full)
    assert set(parts) == set(HELD) == set(get_args(Held)) == set(WRITERS)
    assert {path.name for path in full.iterdir()} == set(HELD)
    below = [path for kind in HELD for path in (full / kind).rglob("*")]
    assert sum(part.size for part in parts.values()) == sum(path.lstat().st_blocks * 512 for path in below)
    assert all(part.size > 0 and time.time() - part.used < 60 for part in parts.values())
    table = parts["features"]
    assert (table.rows, table.shape) == (3, [2, 5])
    assert table.of == f"features of {full.parent / 'data'}"
    assert parts["phantoms"].rows == 2
    assert {parts[kind].rows for kind in ("signatures", "digests", "readable", "checks")} == {1}


def test_clearing_leaves_nothing(full: Path) -> None:
    assert clear(full) == []
    assert contents(full) == []
    assert files(full) == set()


@pytest.mark.parametrize("kind", HELD)
def test_one_kind_alone(full: Path, kind: Held) -> None:
    before = by_kind(full)
    assert clear(full, [kind]) == []
    assert by_kind(full) == {name: part for name, part in before.items() if name != kind}
    assert not files(full / kind)


def test_files_of_others_stay(full: Path) -> None:
    mine = [
        "notes.txt",
        "mine/a.npz",
        *(f"{kind}/{name}" for kind in HELD for name in ("mine.json", ".mine", "m/x.png")),
    ]
    mine += ["phantoms/ct-mine/a.png", "images/0123/about.json", "digests/0123456789abcdef.txt"]
    for name in mine:
        (full / name).parent.mkdir(parents=True, exist_ok=True)
        (full / name).write_text("mine", encoding="utf-8")
    listed = sum(part.rows or 0 for part in contents(full))
    clear(full)
    assert files(full) == set(mine)
    assert listed == 3 + 3 + 2 + 4


def test_what_kills_have_left_goes_and_what_is_being_written_stays(full: Path) -> None:
    clear(full)
    old = ["phantoms/.ct-0123456789ab.0123abcd/train/a.png", "signatures/.0123456789abcdef.npz.tmp_x1"]
    old += ["features/.removed-0123-4-5/index", "phantoms/.removed-ct-0123456789ab-4-5/a.png"]
    new = ["phantoms/.ct-ba9876543210.0123abcd/train/a.png", "checks/.0123456789abcdef01234567.json.tmpx1"]
    for name in old + new:
        (full / name).parent.mkdir(parents=True, exist_ok=True)
        (full / name).write_text("x", encoding="utf-8")
    yesterday = time.time() - 25 * 3600
    for name in old[:2]:
        os.utime(full / "/".join(name.split("/")[:2]), (yesterday, yesterday))
    assert contents(full) == []
    clear(full)
    assert files(full) == set(new)


def test_phantoms_stay_while_they_are_read(full: Path) -> None:
    first, second = sorted((full / "phantoms").iterdir())
    assert hold(second)
    assert clear(full) == [second]
    assert not first.exists()
    assert [part.kind for part in contents(full)] == ["phantoms"]
    release()
    assert clear(full, ["phantoms"]) == []
    assert contents(full) == []


def test_who_draws_phantoms_holds_them(tmp_path: Path) -> None:
    config = CTPhantomConfig(size=16, patients_per_class=1, images_per_patient=1)
    folder = draw_ct_phantoms(config, tmp_path)
    try:
        assert clear(tmp_path) == [folder]
    finally:
        release()
    assert clear(tmp_path) == []
    assert draw_ct_phantoms(config, tmp_path) == folder
    assert any(folder.rglob("*.png"))
    release()


def test_an_empty_place(tmp_path: Path) -> None:
    assert contents(tmp_path) == []
    assert clear(tmp_path) == []
    assert not any(tmp_path.iterdir())
    assert set(KINDS) < set(HELD)
