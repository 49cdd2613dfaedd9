import hashlib
import shutil
import time
from dataclasses import replace
from pathlib import Path

import pytest

from medimg.data.manifest import (
    Manifest,
    Record,
    check_files,
    parse_split,
    read_manifest_csv,
    write_manifest_csv,
)
from medimg.errors import RequestError


def csv_of(folder: Path, text: str, name: str = "data.csv", encoding: str = "utf-8") -> Path:
    file = folder / name
    file.write_bytes(text.encode(encoding))
    return file


def small(root: Path) -> Manifest:
    for name, content in [("b/2.png", b"22"), ("a/1.png", b"1"), ("a/3.png", b"333")]:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content)
    records = (
        Record("b/2.png", "b", "val", "p2", columns={"source": "x,y"}),
        Record("a/1.png", "a", "train", "p1"),
        Record("a/3.png", "a", "test"),
    )
    return Manifest(root, records, classes=("a", "b"))


def test_records_are_sorted_and_selected_by_split(tmp_path: Path) -> None:
    manifest = small(tmp_path)
    assert [record.path for record in manifest.records] == ["a/1.png", "a/3.png", "b/2.png"]
    assert [record.path for record in manifest.of("val")] == ["b/2.png"]
    assert manifest.file(manifest.records[0]) == tmp_path / "a/1.png"


def test_counts_name_absent_classes() -> None:
    manifest = Manifest(Path(), (Record("1", "a", "train"), Record("2", "b")), classes=("a", "b"))
    assert manifest.counts() == {"train": {"a": 1, "b": 0}, "none": {"a": 0, "b": 1}}


def test_fingerprint_is_the_hash_of_its_definition(tmp_path: Path) -> None:
    lines = [
        '["a/1.png", "a", "train", "p1", 1]\n1',
        '["a/3.png", "a", "test", null, 3]\n33',  # from the middle on
        '["b/2.png", "b", "val", "p2", 2]\n2',
    ]
    expected = hashlib.sha256("".join(lines).encode()).hexdigest()
    assert small(tmp_path).fingerprint() == expected


def test_the_fingerprint_of_the_images_is_the_same_without_the_split(tmp_path: Path) -> None:
    lines = ['["a/1.png", "a", "p1", 1]\n1', '["a/3.png", "a", null, 3]\n33', '["b/2.png", "b", "p2", 2]\n2']
    expected = hashlib.sha256("".join(lines).encode()).hexdigest()
    manifest = small(tmp_path)
    assert manifest.images_fingerprint() == expected
    other = Manifest(tmp_path, tuple(replace(record, split="train") for record in manifest.records))
    assert other.images_fingerprint() == expected
    assert other.fingerprint() != manifest.fingerprint()


def test_both_fingerprints_read_each_file_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    manifest, opened, open_file = small(tmp_path), [], Path.open

    def counted(file: Path, *arguments: str) -> object:
        opened.append(file.name)
        return open_file(file, *arguments)

    monkeypatch.setattr(Path, "open", counted)
    manifest.fingerprint()
    manifest.images_fingerprint()
    assert opened == ["1.png", "3.png", "2.png"]


def test_fingerprint_ignores_root_and_order_and_sees_all_else(tmp_path: Path) -> None:
    manifest = small(tmp_path / "one")
    print_of = manifest.fingerprint()
    shutil.copytree(tmp_path / "one", tmp_path / "two")
    assert Manifest(tmp_path / "two", manifest.records[::-1]).fingerprint() == print_of
    first, *rest = manifest.records
    for change in (
        Record(first.path, "b", first.split, first.patient_id),
        Record(first.path, first.label, "val", first.patient_id),
        Record(first.path, first.label, first.split, "other"),
    ):
        assert Manifest(manifest.root, (change, *rest)).fingerprint() != print_of
    (tmp_path / "two" / "a/1.png").write_bytes(b"longer")
    assert Manifest(tmp_path / "two", manifest.records).fingerprint() != print_of
    (tmp_path / "two" / "a/1.png").unlink()
    with pytest.raises(RequestError, match=r"1\.png"):
        Manifest(tmp_path / "two", manifest.records).fingerprint()


def test_csv_round_trip_from_another_folder(tmp_path: Path) -> None:
    manifest = small(tmp_path / "data")
    file = tmp_path / "run" / "manifest.csv"
    write_manifest_csv(manifest, file)
    again = read_manifest_csv(file)
    assert again.fingerprint() == manifest.fingerprint()
    assert again.records[2].columns["source"] == "x,y"
    assert again.file(again.records[0]) == tmp_path / "data" / "a/1.png"
    assert [path.name for path in file.parent.iterdir()] == ["manifest.csv"]
    check_files(again)


def test_writing_leaves_the_old_file_where_it_fails(tmp_path: Path) -> None:
    file = tmp_path / "manifest.csv"
    file.write_text("old")
    bad = Manifest(tmp_path, (Record("\udcff.png", "a"),))
    with pytest.raises(UnicodeEncodeError):
        write_manifest_csv(bad, file)
    assert file.read_text() == "old"
    assert list(tmp_path.iterdir()) == [file]


def test_csv_is_read_as_people_write_it(tmp_path: Path) -> None:
    text = "Path, LABEL ,split,patient_id,site\r\nsub\\one.png,covid , Valid,p 1,Ulm\r\n\r\n./two.png,normal,,,\r\n"
    manifest = read_manifest_csv(csv_of(tmp_path, text, encoding="utf-8-sig"))
    one, two = manifest.records
    assert one == Record("sub/one.png", "covid", "val", "p 1", columns={"site": "Ulm"})
    assert two == Record("two.png", "normal", columns={"site": ""})


def test_file_column_and_absolute_paths(tmp_path: Path) -> None:
    text = f"path,label,medimg_file\na.png,x,/elsewhere/a.png\n{tmp_path}/b.png,y,\nc.png,y,../up/c.png\n"
    manifest = read_manifest_csv(csv_of(tmp_path, text))
    assert [record.path for record in manifest.records] == ["a.png", "b.png", "c.png"]
    files = [manifest.file(record) for record in manifest.records]
    assert files == [Path("/elsewhere/a.png"), tmp_path / "b.png", tmp_path / "../up/c.png"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "'path' is missing"),
        ("path;label\na.png;x\n", "'path;label'.*commas"),
        ("path,lable\na.png,x\n", "'label' is missing.*'lable'"),
        ("path,label\n", "no rows"),
        ("path,label,label\na,b,c\n", "more than once"),
        ("path,label\na.png,x\na.png,y\n", "row 3: path 'a.png' stands in row 2"),
        ("path,label\na.png,x\n./a.png,y\n", "row 3"),
        ("path,label\na.png,x\nb.png, \n", "row 3: label is empty"),
        ("path,label\n,x\n", "row 2: path is empty"),
        ("path,label,split\na.png,x,trian\n", "row 2: split is 'trian'; allowed are train, val, test"),
        ("path,label\na.png,x,more\n", "row 2 has 3 values for 2 columns"),
        ("path,label\n" + ",x\n" * 9, "row 2.*row 3.*row 4.*6 more"),
    ],
)
def test_bad_csv_names_the_place(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(RequestError, match=message) as caught:
        read_manifest_csv(csv_of(tmp_path, text))
    assert "data.csv" in str(caught.value)


def test_what_is_no_csv(tmp_path: Path) -> None:
    image = tmp_path / "image.csv"
    image.write_bytes(b"\x89PNG\r\n\x1a\n\xff\xfe")
    with pytest.raises(RequestError, match="not a CSV"):
        read_manifest_csv(image)
    with pytest.raises(RequestError, match="cannot be read"):
        read_manifest_csv(tmp_path)
    with pytest.raises(RequestError, match="No such file"):
        read_manifest_csv(tmp_path / "none.csv")


def test_missing_files_are_counted_and_named(tmp_path: Path) -> None:
    (tmp_path / "0.png").touch()
    manifest = Manifest(tmp_path, tuple(Record(f"{i}.png", "x") for i in range(6)))
    with pytest.raises(RequestError, match=r"5 of the 6 images do not exist: '1.png', '2.png', '3.png', \.\.\."):
        check_files(manifest)


@pytest.mark.parametrize(
    ("name", "split"),
    [
        ("Train", "train"),
        ("TRAINING", "train"),
        ("valid", "val"),
        ("Validation", "val"),
        ("testing", "test"),
        ("x", None),
    ],
)
def test_split_names(name: str, split: str | None) -> None:
    assert parse_split(name) == split


def test_many_records_take_seconds(tmp_path: Path) -> None:
    records = tuple(Record(f"train/c{i % 5}/{i:06}.png", f"c{i % 5}", "train", f"p{i // 3}") for i in range(30_000))
    started = time.monotonic()
    write_manifest_csv(Manifest(tmp_path, records), tmp_path / "m.csv")
    assert len(read_manifest_csv(tmp_path / "m.csv").records) == 30_000
    assert time.monotonic() - started < 10


def test_frames_and_groups_come_into_the_fingerprint_where_they_are(tmp_path: Path) -> None:
    manifest = small(tmp_path)
    first, *rest = manifest.records

    def prints(record: Record) -> tuple[str, str]:
        changed = Manifest(tmp_path, (record, *rest))
        return changed.fingerprint(), changed.images_fingerprint()

    bare, framed, other = (prints(replace(first, frame=frame)) for frame in (None, 0, 1))
    assert len({bare[0], framed[0], other[0]}) == len({bare[1], framed[1], other[1]}) == 3
    grouped = [prints(replace(first, group=group)) for group in ("0", "a")]
    assert len({bare[0], framed[0], *(whole for whole, _ in grouped)}) == 4
    assert {images for _, images in grouped} == {bare[1]}  # groups are of the split, not of the images
