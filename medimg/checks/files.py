"""Files that cannot be read or whose name hides their format, and what files of each class are like."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence

from medimg.checks.findings import Finding, plural
from medimg.checks.headers import Header
from medimg.data.manifest import Manifest
from medimg.data.readers.sniff import suffix_of

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
CURE = "Replace it, or remove it from the data."


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
