"""What a file is, from its first bytes: format, mode, depth and size; and files whose name says otherwise."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from medimg.checks.findings import Finding, plural
from medimg.data.manifest import Manifest
from medimg.data.readers.sniff import kind_of, suffix_of

_FORMATS = {
    ".png": "PNG",
    ".jpg": "JPEG",
    ".jpeg": "JPEG",
    ".jpe": "JPEG",
    ".bmp": "BMP",
    ".tif": "TIFF",
    ".tiff": "TIFF",
    ".webp": "WEBP",
    ".gif": "GIF",
    ".pgm": "PPM",
    ".ppm": "PPM",
    ".dcm": "DICOM",
    ".dicom": "DICOM",
    ".ima": "DICOM",
    ".nii": "NIFTI",
    ".nii.gz": "NIFTI",
    ".npz": "NPZ",
}
_BITS = {"1": 1, "L": 8, "LA": 8, "P": 8, "PA": 8, "RGB": 8, "RGBA": 8, "CMYK": 8, "YCbCr": 8, "I": 32, "F": 32}
CURE = "Replace it, or remove it from the data."


@dataclass(frozen=True)
class Header:
    """What the first bytes of a file say.

    Attributes:
        format: as Pillow names it, or DICOM, NIFTI, NPZ.
        mode: Pillow's, such as L, RGB or I;16; empty for other formats.
        bits: of each channel; None where the header was not asked.
        size: (height, width); None where the header was not asked.
        length: of the file, in bytes.
    """

    format: str
    mode: str
    bits: int | None
    size: tuple[int, int] | None
    length: int


def read_header(file: Path) -> Header | str:
    """The header of an image file, or why there is none."""
    from PIL import Image, UnidentifiedImageError

    try:
        length = file.stat().st_size
        if not length:
            return "it is empty (0 bytes)"
        kind = kind_of(file)
        if kind != "picture":
            return Header(kind.upper(), "", None, None, length)
        with file.open("rb") as stream, Image.open(stream) as image:
            mode = image.mode
            bits = 16 if mode.startswith("I;16") else _BITS.get(mode)
            name = "JPEG" if image.format == "MPO" else str(image.format)
            return Header(name, mode, bits, (image.height, image.width), length)
    except UnidentifiedImageError:
        return "it is no image of a known format"
    except Exception as error:  # decoders raise many kinds, on the header already
        return getattr(error, "strerror", None) or str(error) or type(error).__name__


def unreadable(path: str, reason: str) -> Finding:
    """The finding of one file that cannot be read."""
    return Finding("unreadable", "severe", (path,), f"{path}: {reason.rstrip('.')}.", CURE)


def wrong_formats(paths: Iterable[str], names: Iterable[str], headers: Iterable[Header | None]) -> list[Finding]:
    """Files whose suffix names another format than their content: a finding for each pair of the two.

    Args:
        paths: of the images, as in the manifest.
        names: of the files that they are read from.
        headers: None where a file has none.
    """
    found: dict[tuple[str, str], list[str]] = defaultdict(list)
    for path, name, header in zip(paths, names, headers, strict=True):
        suffix = suffix_of(name)
        if header and _FORMATS.get(suffix, header.format) != header.format:
            found[suffix, header.format].append(path)
    return [
        Finding(
            "wrong_format",
            "warning",
            tuple(files),
            f"{plural(len(files), 'file')} named {suffix} {'is' if len(files) == 1 else 'are'} {true} by content.",
            "Rename what is misnamed. If only some classes have it, it also tells them apart: see shortcuts.",
        )
        for (suffix, true), files in sorted(found.items())
    ]


def properties(headers: Sequence[Header | None]) -> dict[str, list[str | None]]:
    """Format, mode, bit depth and size of each image as text; None where it is unknown."""
    return {
        "file format": [header.format if header else None for header in headers],
        "mode": [header.mode or None if header else None for header in headers],
        "bit depth": [str(header.bits) if header and header.bits else None for header in headers],
        "image size": ["x".join(map(str, header.size)) if header and header.size else None for header in headers],
    }


def by_class(
    manifest: Manifest, properties: dict[str, list[str | None]], most: int = 8
) -> dict[str, dict[str, dict[str, int]]]:
    """How many images of each class have each value of a property; rare values are counted as `other`."""
    labels = [record.label for record in manifest.records]
    tables = {}
    for name, values in properties.items():
        frequent = {value for value, _ in Counter(value for value in values if value).most_common(most)}
        shown = [(value if value in frequent else "other") if value else "unknown" for value in values]
        counts = Counter(zip(labels, shown, strict=True))
        order = sorted(set(shown), key=lambda value: (value in {"other", "unknown"}, -shown.count(value), value))
        tables[name] = {label: {value: counts[label, value] for value in order} for label in manifest.classes}
    return tables
