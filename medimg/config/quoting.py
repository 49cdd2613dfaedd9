"""Quotes what Hydra's grammar would misread, where the schema says that text is meant."""

import re
from collections.abc import Mapping, Sequence

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import OverrideParseException

from medimg.config.kinds import Field, find


def quoted(overrides: Sequence[str], text: Sequence[str] = ()) -> list[str]:
    """The overrides, with quotes where a text would otherwise be read as a number or not at all.

    `name=2024_01` is 202401 to Hydra, and `data.root=/scans (old)/a=b` is a syntax error; for keys that take text
    both mean what they look like.

    Args:
        overrides: as they were given.
        text: keys of a command's own that take text.
    """
    parser = OverridesParser.create()
    own = {key: [Field(key, (str,), "")] for key in text}
    return [_quoted(override, parser, own) for override in overrides]


def _quoted(line: str, parser: OverridesParser, own: Mapping[str, list[Field]]) -> str:
    key, equals, value = line.partition("=")
    takes = own.get(key) or find(key.lstrip("+"))
    if not equals or not any(field.accepts(str) for field in takes):
        return line
    only_text = all(set(field.kinds) <= {str, type(None)} for field in takes)
    try:
        parsed: Override = parser.parse_overrides([line])[0]
    except OverrideParseException:
        return quote(key, value) if _is_plain(value, only_text) else line
    if parsed.is_sweep_override():
        return line
    found = type(parsed.value())
    misread = found in {int, float, bool} and not any(field.accepts(found) for field in takes)
    return quote(key, value) if misread or (only_text and found in {list, dict}) else line


def _is_plain(value: str, only_text: bool) -> bool:
    """Not quoted, and no sweep, list or dict, whose syntax is better corrected by its writer."""
    structure = r"""\s*["']""" if only_text else r"""\s*["'\[{]"""
    return not re.match(structure + r"|(choice|range|interval|glob|shuffle|sort|tag)\(", value)


def quote(key: str, value: str) -> str:
    """An override whose value is this text, whatever it looks like."""
    # a backslash is itself, except before a quote
    escaped = re.sub(r"(\\*)('|$)", lambda found: found[1] * 2 + found[2].replace("'", "\\'"), value)
    return f"{key}='{escaped}'"
