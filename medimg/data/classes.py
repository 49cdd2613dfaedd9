"""Class names: those of the data, brought to the expected spelling and checked."""

import json
import logging
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import replace
from shlex import quote

from medimg.data.manifest import Manifest, Record, examples
from medimg.data.problems import refuse
from medimg.errors import RequestError, nearest, suggestion

log = logging.getLogger(__name__)

# Other names of one class, folded as in `class_key`. Only names that mean nothing else: "healthy" may be meant wider
# than "normal", and "cancer" or "malignant" wider than "lung cancer", so these need data.class_aliases.
_SPELLINGS = {
    "covid19": "covid",
    "covid2019": "covid",
    "sarscov2": "covid",
    "interstitiallungdisease": "ild",
    "interstitiallungdiseases": "ild",
}


def class_key(name: str) -> str:
    """What two spellings of one class have in common: `COVID-19` and `covid`, `Lung cancer` and `LUNG_Cancer`.

    Case, blanks, `_` and `-` do not count, except between digits: `stage 1-2` is not `stage 12`.
    """
    name = unicodedata.normalize("NFC", name)  # file systems differ in how they write accents
    folded = re.sub(r"(?<=\d)[\s_-]+(?=\d)", "~", name.casefold().strip())
    folded = re.sub(r"[\s_-]+", "", folded)
    return _SPELLINGS.get(folded, folded)


def resolve_classes(
    manifest: Manifest,
    expected: tuple[str, ...] | None,
    aliases: Mapping[str, str] | None,
    positive: str | None,
) -> Manifest:
    """The manifest with its labels renamed to the class names, and `classes` and `positive_class` set.

    With `expected`, these are the classes, in this order. Without, they are those of the training images, sorted by
    name. `aliases` are applied first. A binary task's positive class is the last one unless `positive` names it.
    Raises RequestError for a label that is no class, and for a class without images.
    """
    renamed = _apply_aliases(manifest.records, aliases or {})
    if expected is None:
        classes, names = _names_from_data(renamed)
    else:
        classes, names = expected, _names_from_expected(renamed, expected)
    if len(classes) < 2:
        refuse("missing_class", f"The data has one class only, {examples(classes)}.", "At least two are needed.")
        positive = None
    records = tuple(replace(record, label=names[record.label]) for record in renamed)
    extra = sorted(set(names.values()) - set(classes))  # none, unless problems are gathered
    positive = _positive(classes, positive)
    return replace(manifest, records=records, classes=(*classes, *extra), positive_class=None if extra else positive)


def _apply_aliases(records: tuple[Record, ...], aliases: Mapping[str, str]) -> tuple[Record, ...]:
    labels = sorted({record.label for record in records})
    names: dict[str, str] = {}
    for alias, name in aliases.items():
        matches = [alias] if alias in labels else [label for label in labels if class_key(label) == class_key(alias)]
        if not matches:
            raise RequestError(
                f"data.class_aliases names {alias!r}, and the data has no such folder or label. "
                f"It has: {', '.join(labels)}. {suggestion(alias, labels)}".rstrip()
            )
        if not name.strip():
            raise RequestError(f"data.class_aliases gives {alias!r} no class.")
        # An exact match of another alias goes before a folded one of this.
        names.update({label: name for label in matches if label == alias or label not in aliases})
    return tuple(replace(record, label=names.get(record.label, record.label)) for record in records)


def _names_from_expected(records: tuple[Record, ...], expected: tuple[str, ...]) -> dict[str, str]:
    """Class by label, every label being one of the expected classes and every class having images."""
    by_key = {class_key(name): name for name in expected}
    if len(by_key) < len(expected):
        raise RequestError(f"data.classes has a class twice, or two that read alike: {', '.join(expected)}.")
    labels = sorted({record.label for record in records})
    missing = [name for key, name in by_key.items() if key not in {class_key(label) for label in labels}]
    unknown = [label for label in labels if class_key(label) not in by_key]
    if unknown:
        what = f"{_named(unknown)} none of the expected classes: {', '.join(expected)}."
        cure = _unknown_classes_cure(labels, unknown, expected, missing)
        refuse("class_mismatch", what, cure, [path for label in unknown for path in _paths(records, label)])
    if missing:
        present = [name for name in expected if name not in missing] or labels
        what = f"The data has no images of the expected class {examples(missing)}. It has: {', '.join(present)}."
        cure = f"Add the images, or give the classes that there are: {_classes_override(present)}"
        cure = "Add the images, or see what is said of the other folders or labels." if unknown else cure
        refuse("missing_class", what, cure)
    names = {label: by_key.get(class_key(label), label) for label in labels}
    for label, name in names.items():
        if label != name:
            log.info("Label %r is read as class %r.", label, name)
    return names


def _names_from_data(records: tuple[Record, ...]) -> tuple[tuple[str, ...], dict[str, str]]:
    """The classes of the training images, and class by label."""
    training = {record.label for record in records if record.split in {None, "train"}}
    reference = training or {record.label for record in records}  # no training images: an error of the splits
    by_key = _one_spelling_each([record for record in records if record.label in reference])
    names: dict[str, str] = {}
    for record in records:
        known = by_key.get(class_key(record.label))
        if known is None:
            if record.label not in names:
                what = f"Class {record.label!r} has images in {record.split} ({record.path!r}) and none in train."
                cure = _class_cure(record.label, tuple(sorted(reference)), [])
                refuse("class_mismatch", what, cure, _paths(records, record.label))
        elif record.label not in reference and record.label not in names:
            log.info("Label %r is read as class %r, as train spells it.", record.label, known)
        names[record.label] = known or record.label
    return tuple(sorted(by_key.values())), names


def _one_spelling_each(records: list[Record]) -> dict[str, str]:
    """Class by key: the spelling that most images have; that there are others is refused, with the images of those."""
    counts = Counter(record.label for record in records)
    spellings: dict[str, list[str]] = {}
    for name in sorted(counts, key=lambda name: (-counts[name], name)):
        spellings.setdefault(class_key(name), []).append(name)
    for most, *others in spellings.values():
        if others:
            each = ", ".join(f"{name!r} (images: {counts[name]})" for name in [most, *others])
            aliases = _alias_override(dict.fromkeys(others, most))
            files = [record.path for record in records if record.label in others]
            cure = f"If they are one, give {aliases}; if not, rename one of them."
            refuse("class_mismatch", f"Classes that read alike: {each}.", cure, files)
    return {key: names[0] for key, names in spellings.items()}


def _paths(records: tuple[Record, ...], label: str) -> list[str]:
    return [record.path for record in records if record.label == label]


def _named(labels: list[str]) -> str:
    if len(labels) == 1:
        return f"Folder or label {labels[0]!r} is"
    return f"Folders or labels {', '.join(map(repr, labels))} are"


def _unknown_classes_cure(labels: list[str], unknown: list[str], expected: tuple[str, ...], missing: list[str]) -> str:
    """One proposal for all of them: a data set with several labels that are no class has mostly classes of its own."""
    if len(unknown) == 1:
        own = _classes_override([*expected, *unknown])
        return f"{_class_cure(unknown[0], expected, missing)} If it is a class of its own, give all classes: {own}"
    aliases = _alias_override({label: (nearest(label, expected, n=1) or ["CLASS"])[0] for label in unknown})
    return (
        f"If these are classes of their own, data=image_folder takes the classes that the data has, or name them: "
        f"{_classes_override(labels)} If they are other names of the expected ones, give {aliases}."
    )


def _class_cure(label: str, classes: tuple[str, ...], missing: list[str]) -> str:
    """What to do about a label that is no class: the nearest class, or the only one that still lacks a folder."""
    near = nearest(label, classes, n=1) or (missing if len(missing) == 1 else [])
    question = f"Did you mean {near[0]!r}? If so, give" if near else "If it is another name of one of them, give"
    return f"{question} {_alias_override({label: near[0] if near else 'CLASS'})}."


def _alias_override(names: Mapping[str, str]) -> str:
    """The override as Hydra's grammar and a shell take it; that grammar has no quotes in the keys of a dict."""
    if any({"'", '"'} & set(label) for label in names):
        return "the folder a name without quotes, which data.class_aliases cannot take"
    pairs = (f"{_escaped(label)}:{_escaped(name)}" for label, name in names.items())
    return quote(f"data.class_aliases={{{','.join(pairs)}}}")


def _classes_override(names: Iterable[str]) -> str:
    return quote(f"data.classes=[{','.join(map(_escaped, names))}]")


def _escaped(text: str) -> str:
    """A name as Hydra's grammar takes it within a list or a dict."""
    if {"'", '"'} & set(text):
        return json.dumps(text, ensure_ascii=False)
    return re.sub(r"([\\()\[\]{}:=,])", r"\\\1", text)


def _positive(classes: tuple[str, ...], positive: str | None) -> str | None:
    if positive is None:
        return classes[-1] if len(classes) == 2 else None
    if len(classes) != 2:
        raise RequestError(
            f"data.positive_class={positive} is for two classes, and there are {len(classes)}: {', '.join(classes)}. "
            "Give data.positive_class=null."
        )
    matches = [name for name in classes if class_key(name) == class_key(positive)]
    if not matches:
        raise RequestError(
            f"data.positive_class={positive} is none of the two classes: {', '.join(classes)}. "
            f"{suggestion(positive, classes)}".rstrip()
        )
    return matches[0]
