from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageEnhance
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components
from sklearn.metrics import adjusted_rand_score

from medimg.config.data import CovidPhantomConfig, MedMNISTConfig
from medimg.data import descriptors as descriptors_module
from medimg.data.descriptors import descriptors
from medimg.data.load import load_manifest
from medimg.data.manifest import Manifest, Record
from medimg.data.similarity import Pair, clusters, find_copies


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> list[Image.Image]:
    """Chest X-rays of 24 synthetic patients."""
    config = CovidPhantomConfig(patients_per_class=12, images_per_patient=1, size=128, difficulty=1.0)
    manifest = load_manifest(config, tmp_path_factory.getbasetemp() / "cache")
    return [Image.open(manifest.file(record)).convert("L") for record in manifest.records]


def jpeg(image: Image.Image, quality: int = 60) -> Image.Image:
    stream = BytesIO()
    image.save(stream, "JPEG", quality=quality)
    return Image.open(BytesIO(stream.getvalue()))


def save(root: Path, images: dict[str, Image.Image]) -> Manifest:
    for name, image in images.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        image.save(root / name)
    return Manifest(root, tuple(Record(name, "a") for name in images))


def found(manifest: Manifest, **more: Path) -> set[tuple[str, str, bool]]:
    names = [record.path for record in manifest.records]
    return {(names[pair.first], names[pair.second], pair.exact) for pair in find_copies(manifest, **more)}


def test_different_patients_are_no_copies(films: list[Image.Image], tmp_path: Path) -> None:
    assert found(save(tmp_path, {f"{i:02}.png": film for i, film in enumerate(films)})) == set()


def test_the_same_pixels_in_any_format(films: list[Image.Image], tmp_path: Path) -> None:
    manifest = save(tmp_path, {"0.png": films[0], "1.png": films[1], "2.bmp": films[0], "3.tif": films[0]})
    films[0].convert("RGB").save(tmp_path / "2.bmp")  # grey stored as colour
    deep = np.asarray(films[0]).astype(np.uint16) * 257
    Image.fromarray(deep).save(tmp_path / "3.tif")
    assert found(manifest) == {("0.png", "2.bmp", True), ("0.png", "3.tif", True)}


@pytest.mark.parametrize(
    "change",
    {
        "half": lambda film: film.resize((64, 64)),
        "stretched": lambda film: film.resize((200, 90), Image.Resampling.NEAREST),
        "jpeg 60": jpeg,
        "darker": lambda film: ImageEnhance.Brightness(film).enhance(0.5),
        "contrast": lambda film: ImageEnhance.Contrast(film).enhance(1.3),
        "gamma": lambda film: film.point([round(255 * (i / 255) ** 0.7) for i in range(256)]),
        "all": lambda film: jpeg(ImageEnhance.Brightness(film.resize((90, 90))).enhance(0.8)),
        "12 of 16 bits": lambda film: Image.fromarray(np.asarray(film).astype(np.uint16) * 16),
    }.items(),
    ids=lambda change: change[0],
)
def test_changed_copies_are_found_and_nothing_else(films: list[Image.Image], tmp_path: Path, change) -> None:  # type: ignore[no-untyped-def]
    images = {f"{i:02}.png": film for i, film in enumerate(films)} | {"copy.png": change[1](films[5])}
    assert found(save(tmp_path, images)) == {("05.png", "copy.png", False)}


def test_other_sizes_are_not_the_same_pixels(tmp_path: Path) -> None:
    flat = {"a.png": Image.new("L", (8, 4), 3), "b.png": Image.new("L", (4, 8), 3), "c.png": Image.new("L", (4, 8), 3)}
    assert found(save(tmp_path, flat)) == {("b.png", "c.png", True)}


def test_unreadable_images_are_left_out(films: list[Image.Image], tmp_path: Path) -> None:
    manifest = save(tmp_path, {"a.png": films[0], "b.png": films[0], "c.png": films[0], "d.png": films[0]})
    whole = (tmp_path / "b.png").read_bytes()
    (tmp_path / "b.png").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "c.png").unlink()
    assert found(manifest) == {("a.png", "d.png", True)}


def test_of_many_equal_images_each_is_paired_with_the_first(tmp_path: Path) -> None:
    manifest = save(tmp_path, {f"{i:03}.png": Image.new("L", (9, 9)) for i in range(150)})
    assert find_copies(manifest) == [Pair(0, i, True, 0.0) for i in range(1, 150)]


def test_copies_among_the_rows_of_an_archive(films: list[Image.Image], tmp_path: Path) -> None:
    rows = np.stack([np.asarray(films[i]) for i in (0, 1, 0, 2)])
    np.savez(tmp_path / "x.npz", train_images=rows, train_labels=np.array([[0], [1], [0], [1]]))
    manifest = load_manifest(MedMNISTConfig(root=str(tmp_path / "x.npz"), val_fraction=0), tmp_path)
    for _ in range(2):  # the second time from what is kept
        assert find_copies(manifest, cache=tmp_path / "cache") == [Pair(0, 2, True, 0.0)]


def test_no_images_no_copies(tmp_path: Path) -> None:
    assert find_copies(Manifest(tmp_path, ())) == []


def test_signatures_are_kept_until_a_file_changes(films: list[Image.Image], tmp_path: Path) -> None:
    manifest = save(tmp_path / "data", {"a/0.png": films[0], "b/1.png": films[0]})
    cache = tmp_path / "cache"
    assert found(manifest, cache=cache) == {("a/0.png", "b/1.png", True)}
    (kept,) = (cache / "signatures").iterdir()
    before = kept.stat().st_mtime_ns
    assert found(manifest, cache=cache) == {("a/0.png", "b/1.png", True)}
    assert kept.stat().st_mtime_ns == before
    films[7].save(tmp_path / "data" / "b" / "1.png")
    assert found(manifest, cache=cache) == set()


def test_a_broken_cache_is_made_anew(
    films: list[Image.Image], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    manifest = save(tmp_path / "data", {"a/0.png": films[0], "b/1.png": films[0]})
    find_copies(manifest, cache=tmp_path / "cache")
    (kept,) = (tmp_path / "cache" / "signatures").iterdir()
    kept.write_bytes(b"not a zip")
    assert found(manifest, cache=tmp_path / "cache") == {("a/0.png", "b/1.png", True)}
    assert "made again" in caplog.text


def test_descriptors_give_the_correlation_of_what_is_sharp() -> None:
    thumbnails = np.random.default_rng(0).integers(0, 256, (40, 64, 64)).astype(np.uint8)
    expected = np.corrcoef([_high_pass(one) for one in thumbnails])
    vectors = descriptors(thumbnails).astype(np.float64)
    lengths = np.linalg.norm(vectors, axis=1)
    np.testing.assert_allclose(vectors @ vectors.T / np.outer(lengths, lengths), expected, atol=5e-4)


def _high_pass(thumbnail: NDArray[np.uint8]) -> NDArray[np.float64]:
    from scipy.ndimage import correlate1d

    small = thumbnail.astype(np.float64).reshape(32, 2, 32, 2).mean(axis=(1, 3))
    kernel = np.array([1, 4, 6, 4, 1]) / 16
    return (small - correlate1d(correlate1d(small, kernel, 0), kernel, 1)).ravel()


def test_products_of_descriptors_are_exact_in_float32() -> None:
    vectors = descriptors(np.random.default_rng(1).integers(0, 256, (50, 64, 64)).astype(np.uint8))
    exact = vectors.astype(np.int64) @ vectors.astype(np.int64).T
    assert exact.max() < 2**24
    for order in (slice(None), slice(None, None, -1)):
        single = vectors.astype(np.float32)[:, order]
        assert (single @ single.T == exact).all()


def test_blocks_find_what_one_table_would(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    draw = np.random.default_rng(0)
    images = {}
    for i in range(9):
        pixels = draw.integers(0, 256, (64, 64)).astype(np.uint8)
        images[f"{i}.png"] = Image.fromarray(pixels)
        images[f"{(i + 4) % 9}_copy.png"] = Image.fromarray(pixels // 2)
    manifest = save(tmp_path, images)
    whole = find_copies(manifest)
    assert len(whole) == 9
    monkeypatch.setattr("medimg.data.descriptors._BLOCK", 4)
    assert find_copies(manifest) == whole


def test_clusters_are_connected_components() -> None:
    pairs = [Pair(0, 3, True, 0.0), Pair(3, 4, False, 0.1), Pair(1, 5, False, 0.1)]
    assert clusters(7, pairs) == [[0, 3, 4], [1, 5], [2], [6]]
    assert clusters(0, []) == []


def as_descriptors(vectors: NDArray[np.float64]) -> NDArray[np.int16]:
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.rint(unit * descriptors_module._NORM).astype(np.int16)


@pytest.mark.parametrize("seed", range(4))
def test_a_few_pairs_connect_what_all_pairs_do(seed: int) -> None:
    """Against scipy's components of the whole table; more vectors than go into one block are not needed for that."""
    generator = np.random.default_rng(seed)
    centres = generator.normal(size=(12, 64))
    members = np.repeat(centres, 40, axis=0) + generator.normal(size=(480, 64)) * 0.75
    vectors = np.rint(members - members.mean(axis=1, keepdims=True))
    vectors = np.rint(vectors / np.linalg.norm(vectors, axis=1, keepdims=True) * descriptors_module._NORM).astype(
        np.int16
    )
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    expected = connected_components(csr_array(1 - unit @ unit.T <= 0.4))[1]
    found = list(descriptors_module.connecting(vectors, 0.4))
    rows, columns = zip(*((one, other) for one, other, _ in found), strict=True)
    graph = csr_array((np.ones(len(found)), (rows, columns)), shape=(480, 480))
    assert adjusted_rand_score(expected, connected_components(graph, directed=False)[1]) == 1
    assert len(found) == 480 - len(set(expected))  # no pair too many
    assert 1 < len(set(expected)) < 480
    assert all(far <= 0.4 and abs(far - (1 - unit[one] @ unit[other])) < 1e-6 for one, other, far in found)


def test_neither_blocks_nor_how_many_are_alike_tear_a_cluster(monkeypatch: pytest.MonkeyPatch) -> None:
    """A hub with 150 neighbours that are far from each other."""
    monkeypatch.setattr(descriptors_module, "_BLOCK", 32)
    hub = np.full(160, 2.0)
    spokes = np.array([hub + 30 * np.eye(160)[number] for number in range(150)])
    vectors = np.vstack([hub + np.linspace(-1, 1, 160) * 0.01, spokes])
    vectors = np.rint(vectors / np.linalg.norm(vectors, axis=1, keepdims=True) * descriptors_module._NORM).astype(
        np.int16
    )
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    apart = 1 - unit @ unit.T
    distance = float(apart[0, 1:].max()) + 1e-3
    assert (apart[1:, 1:][~np.eye(150, dtype=bool)] > distance).all()
    assert len(list(descriptors_module.connecting(vectors, distance))) == 150


@pytest.mark.parametrize("at_once", [1, 7, 64])
def test_of_many_near_copies_fewer_pairs_than_images_are_kept(
    films: list[Image.Image], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at_once: int
) -> None:
    """Forty copies of two films that differ in brightness: 380 pairs are near, and 38 connect them."""
    monkeypatch.setattr("medimg.data.similarity._AT_ONCE", at_once)
    brighter = [0.5 + 0.025 * i for i in range(20)]
    images = {
        f"{k}_{i:02}.png": ImageEnhance.Brightness(films[k]).enhance(factor)
        for k in range(2)
        for i, factor in enumerate(brighter)
    }
    pairs = find_copies(save(tmp_path, images))
    assert len(pairs) == 38
    assert clusters(40, pairs) == [list(range(20)), list(range(20, 40))]
