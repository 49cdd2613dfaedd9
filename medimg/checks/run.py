"""All checks, in the order in which each can use what the one before it found."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from medimg.checks.classes import missing_and_small
from medimg.checks.copies import copies, same_bytes
from medimg.checks.features import border_features, file_features
from medimg.checks.files import by_class, properties, unreadable, wrong_formats
from medimg.checks.findings import Finding, Report, from_problem, ordered
from medimg.checks.headers import Header, read_header
from medimg.checks.looks import Look, Seen, look_at
from medimg.checks.patients import check_patients
from medimg.checks.shortcuts import Shortcuts, groups_of
from medimg.data.frames import unfit
from medimg.data.manifest import Manifest
from medimg.data.problems import Problem
from medimg.data.readers.refusals import SettingError
from medimg.data.similarity import Pair, clusters, find_copies, find_neighbours

BORDER = "the border of the images (an eighth on each side, the middle masked)"
PROPERTIES = "properties of the files (format, depth, size, aspect, compression, brightness, contrast)"
_MOST_HEADERS = 5000  # that the quick check reads, spread over the data


def run_checks(
    manifest: Manifest,
    problems: Sequence[Problem] = (),
    *,
    cache: Path | None = None,
    workers: int = 0,
    progress: bool = False,
) -> Report:
    """Everything: every image is read.

    Args:
        manifest: the images, with the splits of the source; None where it has none.
        problems: what came up when they were listed, from `medimg.data.problems.gathered`.
        cache: the cache folder, where the search for copies keeps what it has seen; None: nothing is kept.
        workers: threads that read images; 0: one for each core.
        progress: show bars, on a terminal.
    """
    looks = look_at(manifest, workers=workers, progress=progress)
    headers = _with_sizes(_headers(manifest, range(len(manifest.records))), looks)
    pairs = find_copies(manifest, workers=workers, cache=cache)
    problems = [*problems, *_unfit(manifest, looks, problems)]
    findings = [from_problem(problem, str(manifest.root)) for problem in problems]
    findings += [*missing_and_small(manifest), *check_patients(manifest), *copies(manifest, pairs)]
    # the pixels decide: a header that cannot be read here is nobody's problem by itself
    findings += _broken(manifest, [look if isinstance(look, str) else None for look in looks])
    alike = _alike(manifest, pairs, workers, cache)
    return _report(manifest, findings, headers, looks, alike)


def quick_checks(manifest: Manifest) -> Report:
    """What takes seconds: the manifest, headers of files (5,000 at most), and files that are the same byte for byte."""
    step = max(1, -(-len(manifest.records) // _MOST_HEADERS))
    headers = _headers(manifest, range(0, len(manifest.records), step))
    pairs = same_bytes(manifest)
    findings = [*missing_and_small(manifest), *check_patients(manifest), *copies(manifest, pairs)]
    findings += _broken(manifest, [header if isinstance(header, str) else None for header in headers])
    return replace(_report(manifest, findings, headers, None, pairs), quick=True)


def _report(
    manifest: Manifest,
    findings: list[Finding],
    headers: Sequence[Header | str | None],
    looks: Sequence[Seen] | None,
    alike: Sequence[Pair],
) -> Report:
    known = [header if isinstance(header, Header) else None for header in headers]
    records = manifest.records
    findings += wrong_formats([one.path for one in records], [manifest.file(one).name for one in records], known)
    facts = properties(known)
    groups, unit = groups_of(manifest, alike)
    # a study belongs to one patient: it tells nothing that the patient does not
    columns = sorted({name for record in records for name in record.columns} - {"study"})
    varied = {name: values for name, values in facts.items() if len(set(values) - {None}) > 1}
    shortcuts = Shortcuts(manifest, groups, unit, planned=len(columns) + len(varied) + (2 if looks else 0))
    for name in columns:
        shortcuts.compare_column(f"the column {name!r}", [record.columns.get(name) or None for record in records])
    for name, values in varied.items():
        shortcuts.compare_column(f"the {name}", values)
    if looks:
        shortcuts.compare_features(PROPERTIES, file_features(known, looks))
        shortcuts.compare_features(BORDER, border_features(looks))
    return Report(
        findings=ordered([*findings, *shortcuts.findings]),
        counts=manifest.counts(),
        comparisons=tuple(shortcuts.comparisons),
        properties=by_class(manifest, facts),
        unit=unit,
    )


def _alike(manifest: Manifest, copies: Sequence[Pair], workers: int, cache: Path | None) -> Sequence[Pair]:
    """What stands in where neither patient nor group is known: look-alikes, unless they chain most data together."""
    if all(record.patient_id or record.group for record in manifest.records):
        return copies
    neighbours = find_neighbours(manifest, workers=workers, cache=cache)
    largest = max(map(len, clusters(len(manifest.records), neighbours)), default=0)
    return neighbours if largest <= len(manifest.records) / 4 else copies


def _headers(manifest: Manifest, places: range) -> list[Header | str | None]:
    """The headers of the files of these records, None for the others; a file of many records is opened once."""
    known: dict[Path, Header | str] = {}
    found: list[Header | str | None] = [None] * len(manifest.records)
    for place in places:
        file = manifest.file(manifest.records[place])
        if file not in known:
            known[file] = read_header(file)
        found[place] = known[file]
    return found


def _unfit(manifest: Manifest, looks: Sequence[Seen], problems: Sequence[Problem]) -> list[Problem]:
    """Images that need another setting and were not told when they were listed."""
    told = {file for problem in problems if problem.kind == "needs_setting" for file in problem.files}
    pairs = zip(manifest.records, looks, strict=True)
    return unfit((one.path, look) for one, look in pairs if isinstance(look, SettingError) and one.path not in told)


def _with_sizes(headers: Sequence[Header | str | None], looks: Sequence[Seen]) -> list[Header | str | None]:
    """The headers, those that do not say the size of an image (NIfTI, archives) with the size that was seen."""
    found = list(headers)
    for place, (header, look) in enumerate(zip(headers, looks, strict=True)):
        if isinstance(header, Header) and not header.size and isinstance(look, Look):
            found[place] = replace(header, size=look.size)
    return found


def _broken(manifest: Manifest, reasons: Sequence[str | None]) -> list[Finding]:
    pairs = zip(manifest.records, reasons, strict=True)
    return [unreadable(record.path, reason) for record, reason in pairs if reason is not None]
