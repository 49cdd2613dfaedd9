"""Digests of files are remembered, and never wrongly."""

import hashlib
import logging
import os
from pathlib import Path

import pytest

from medimg.data.cache import digests
from medimg.data.cache.digests import code_digest, file_digests, versions_of


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


@pytest.fixture
def hashed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the files that are hashed from now on."""
    names: list[str] = []
    real = digests._digest

    def note(name: str) -> str:
        names.append(Path(name).name)
        return real(name)

    monkeypatch.setattr(digests, "_digest", note)
    return names


@pytest.fixture
def later(monkeypatch: pytest.MonkeyPatch) -> None:
    """A minute after the files were written."""
    real = digests.time.time_ns
    monkeypatch.setattr(digests.time, "time_ns", lambda: real() + 60 * 10**9)


def write(folder: Path, **content: str) -> list[Path]:
    folder.mkdir(exist_ok=True)
    for name, text in content.items():
        (folder / name).write_text(text, encoding="utf-8")
    return [folder / name for name in content]


def truth(*texts: str) -> list[str]:
    return [hashlib.sha256(text.encode()).hexdigest() for text in texts]


@pytest.mark.usefixtures("later")
def test_a_file_is_hashed_once(tmp_path: Path, cache: Path, hashed: list[str]) -> None:
    files = write(tmp_path / "data", a="1", b="2")
    assert file_digests([*files, files[0]], cache) == truth("1", "2", "1")
    assert sorted(hashed) == ["a", "b"]
    more = [*files, *write(tmp_path / "data", c="3")]
    assert file_digests(more, cache) == truth("1", "2", "3")
    assert hashed[2:] == ["c"]
    assert file_digests([], cache) == []


@pytest.mark.usefixtures("later")
def test_a_change_is_seen(tmp_path: Path, cache: Path) -> None:
    files = write(tmp_path / "data", a="1", b="2")
    file_digests(files, cache)
    write(tmp_path / "data", a="one")
    assert file_digests(files, cache) == truth("one", "2")
    files[1].unlink()
    assert file_digests(files, cache) == [*truth("one"), ""]
    write(tmp_path / "data", b="2")
    assert file_digests(files, cache) == truth("one", "2")


@pytest.mark.usefixtures("later")
def test_another_file_of_the_same_size_and_time(tmp_path: Path, cache: Path) -> None:
    """As `cp -p` and rsync leave it: only the system's own time tells."""
    (file,) = write(tmp_path / "data", a="1")
    before = file.stat()
    assert file_digests([file], cache) == truth("1")
    (other,) = write(tmp_path / "data", b="2")
    other.replace(file)
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert (file.stat().st_size, file.stat().st_mtime_ns) == (before.st_size, before.st_mtime_ns)
    assert file_digests([file], cache) == truth("2")


def test_what_has_just_changed_is_not_remembered(tmp_path: Path, cache: Path, hashed: list[str]) -> None:
    """A further change might leave size and time as they are."""
    files = write(tmp_path / "data", a="1")
    for _ in range(2):
        assert file_digests(files, cache) == truth("1")
    assert hashed == ["a", "a"]


def test_a_change_within_a_tick_of_the_clock(tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a file system whose times are two seconds apart, while the file is being hashed, which takes long."""
    (file,) = write(tmp_path / "data", a="1")
    tick, clock = 1_000_000_000_000, [1_000_500_000_000]
    monkeypatch.setattr(digests, "state_of", lambda file: (file.stat().st_size, tick, tick))
    monkeypatch.setattr(digests.time, "time_ns", lambda: clock[0])
    real = digests._digest

    def slow(name: str) -> str:
        found = real(name)
        file.write_text("2", encoding="utf-8")
        clock[0] += 3_000_000_000
        return found

    monkeypatch.setattr(digests, "_digest", slow)
    assert file_digests([file], cache) == truth("1")
    monkeypatch.setattr(digests, "_digest", real)
    assert file_digests([file], cache) == truth("2")


@pytest.mark.usefixtures("later")
def test_what_changed_while_it_was_hashed_is_not_remembered(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (file,) = write(tmp_path / "data", a="1")
    real = digests._digest

    def disturbed(name: str) -> str:
        found = real(name)
        file.write_text("22", encoding="utf-8")
        return found

    monkeypatch.setattr(digests, "_digest", disturbed)
    file_digests([file], cache)
    monkeypatch.setattr(digests, "_digest", real)
    file.write_text("3", encoding="utf-8")  # of the size that it had at first
    assert file_digests([file], cache) == truth("3")


@pytest.mark.usefixtures("later")
@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"5", b'{"a": 1}', b'{"a": [1, 2]}', b"\xff\xfe"])
def test_a_damaged_store_is_made_anew(
    tmp_path: Path, cache: Path, content: bytes, hashed: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    files = write(tmp_path / "data", a="1")
    file_digests(files, cache)
    (store,) = (cache / "digests").iterdir()
    store.write_bytes(content)
    assert file_digests(files, cache) == truth("1")
    assert str(store) in caplog.text
    assert file_digests(files, cache) == truth("1")
    assert hashed == ["a", "a"]


@pytest.mark.usefixtures("later")
def test_a_cache_that_cannot_be_written_costs_a_warning(
    tmp_path: Path, cache: Path, caplog: pytest.LogCaptureFixture
) -> None:
    cache.write_text("a file", encoding="utf-8")
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            assert file_digests(write(tmp_path / "data", a="1"), cache) == truth("1")
    (message,) = caplog.messages
    assert str(cache) in message and "cannot be kept there (Not a directory)" in message


def test_code_is_told_apart_by_name_and_content(tmp_path: Path) -> None:
    files = write(tmp_path / "code", **{"a.py": "x = 1", "b.py": "y = 1"})
    first = code_digest(tmp_path / "code")
    assert first == code_digest(tmp_path / "code") == code_digest(*files)
    write(tmp_path / "code", **{"notes.txt": "no code"})
    assert code_digest(tmp_path / "code") == first
    write(tmp_path / "code", **{"b.py": "y = 2"})
    assert code_digest(tmp_path / "code") != first
    assert code_digest(files[0]) != code_digest(files[1])


def test_versions_of_packages() -> None:
    assert versions_of(["numpy", "no-such-package"]) == {
        "numpy": __import__("numpy").__version__,
        "no-such-package": None,
    }
