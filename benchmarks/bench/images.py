"""The images that are measured on: where they come from, fewer of them, or many times as many."""

import csv
import os
import shutil
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from PIL import Image, ImageOps
from PIL.Image import Transpose

from benchmarks.bench.process import ROOT, BenchError

REAL = Path(os.environ.get("MEDIMG_REAL_DATA", ROOT.parent / "shared" / "data")).resolve()

_SUFFIXES = {".png", ".jpg", ".jpeg", ".bmp", ".webp", ".tif", ".tiff"}
_TURNS = (None, *Transpose)


@dataclass(frozen=True)
class Images:
    """Class folders below `root`/train and `root`/`held_out`, which the plain loop validates on.

    medimg gets the same folder: it cuts its validation split from train where there is none, and looks at test once.
    """

    root: Path
    held_out: str
    train: int
    held: int
    synthetic: bool = False

    @property
    def total(self) -> int:
        """Images of both splits."""
        return self.train + self.held


def images_in(root: Path, *, synthetic: bool = False) -> Images:
    """The images of a folder.

    Raises:
        BenchError: it has no class folders where they are looked for.
    """
    held_out = next((split for split in ("val", "test") if (root / split).is_dir()), None)
    if held_out is None or not (root / "train").is_dir():
        raise BenchError(f"{root}: expected class folders in train/ and in val/ or test/")
    train, held = (len(_files(root, [split])) for split in ("train", held_out))
    return Images(root, held_out, train, held, synthetic)


def default_images(work: Path) -> Images:
    """The X-rays of MEDIMG_REAL_DATA, or about as many synthetic ones, drawn into the working folder."""
    if (REAL / "covid_xray").is_dir():
        return images_in(REAL / "covid_xray")
    from medimg.config import CovidPhantomConfig
    from medimg.data.phantoms import draw_covid_phantoms

    config = CovidPhantomConfig(patients_per_class=86, images_per_patient=2, size=512)
    return images_in(draw_covid_phantoms(config, work), synthetic=True)


def default_weights() -> Path | None:
    """Weights for mobilenet_v2 beside the real images, or none: then all start with random ones."""
    file = REAL.parent / "weights" / "mobilenet_v2-imagenet.pth"
    return file if file.is_file() else None


def fewer(images: Images, each: int, target: Path) -> Images:
    """The first so many images of each class in each split, copied."""
    for split in ("train", images.held_out):
        for folder in sorted(path for path in (images.root / split).iterdir() if path.is_dir()):
            (target / split / folder.name).mkdir(parents=True)
            for file in islice(sorted(_files(folder, ["."])), each):
                shutil.copyfile(file, target / file.relative_to(images.root))
    _write_table(images, target, [""])
    return images_in(target, synthetic=images.synthetic)


def more(images: Images, times: int, target: Path) -> Images:
    """So many times as many images, at most 16: turned, mirrored and inverted, as images of as many times the patients.

    They cost as much to read as the originals, and are different images to every cache and to every search for copies.
    """
    if times > 2 * len(_TURNS):
        raise ValueError(f"there are not {times} variants of an image")
    files = list(_files(images.root, ["train", images.held_out]))
    for folder in {file.parent.relative_to(images.root) for file in files}:
        (target / folder).mkdir(parents=True, exist_ok=True)
    jobs = [(file, number) for file in files for number in range(times)]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        list(pool.map(lambda job: _variant(job[0], job[1], target / job[0].relative_to(images.root).parent), jobs))
    _write_table(images, target, [f"v{number}" for number in range(times)])
    return images_in(target, synthetic=images.synthetic)


def _variant(file: Path, number: int, folder: Path) -> None:
    with Image.open(file) as opened:
        image = opened.convert("L" if opened.mode.startswith(("L", "I", "1")) else "RGB")
    turn = _TURNS[number % len(_TURNS)]
    turned = image if turn is None else image.transpose(turn)
    (turned if number < len(_TURNS) else ImageOps.invert(turned)).save(folder / f"v{number}_{file.name}")


def _write_table(images: Images, target: Path, variants: list[str]) -> None:
    """The rows of metadata.csv, where there is one, for the images that `target` has; a patient for each variant."""
    source = images.root / "metadata.csv"
    if not source.is_file():
        return
    with source.open(encoding="utf-8", newline="") as stream:
        reader = csv.DictReader(stream)
        columns, rows = list(reader.fieldnames or []), list(reader)
    with (target / "metadata.csv").open("w", encoding="utf-8", newline="") as stream:
        table = csv.DictWriter(stream, columns)
        table.writeheader()
        for variant in variants:
            for row in rows:
                old = Path(row["path"])
                path = old.with_name(f"{variant}_{old.name}") if variant else old
                patient = {"patient_id": f"{row['patient_id']}{variant}"} if row.get("patient_id") else {}
                if (target / path).is_file():
                    table.writerow(row | {"path": path.as_posix()} | patient)


def _files(root: Path, splits: list[str]) -> list[Path]:
    found = [file for split in splits for file in (root / split).rglob("*") if file.suffix.lower() in _SUFFIXES]
    return sorted(found)
