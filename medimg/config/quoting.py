"""Quotes what Hydra's grammar would misread, where the schema says that text is meant."""

import re
from collections.abc import Sequence

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import OverrideParseException

from medimg.config.kinds import find


def quoted(overrides: Sequence[str]) -> list[str]:
    """The overrides, with quotes where a text would otherwise be read as a number or not at all.

    `name=2024_01` is 202401 to Hydra, and `data.root=/scans (old)/a=b` is a syntax error; for keys that take text
    both mean what they look like.
    """
    parser = OverridesParser.create()
    return [_quoted(override, parser) for override in overrides]


def _quoted(line: str, parser: OverridesParser) -> str:
    key, equals, value = line.partition("=")
    takes = find(key.lstrip("+"))
    if not equals or not any(field.accepts(str) for field in takes):
        return line
    try:
        parsed: Override = parser.parse_overrides([line])[0]
    except OverrideParseException:
        return quote(key, value) if _is_plain(value) else line
    misread = not parsed.is_sweep_override() and type(parsed.value()) in {int, float, bool}
    if misread and not any(field.accepts(type(parsed.value())) for field in takes):
        return quote(key, value)
    return line


def _is_plain(value: str) -> bool:
    """Not quoted, and no list, dict or sweep, whose syntax is better corrected by its writer."""
    return not re.match(r"""\s*["'\[{]|(choice|range|interval|glob|shuffle|sort|tag)\(""", value)


def quote(key: str, value: str) -> str:
    """An override whose value is this text, whatever it looks like."""
    escaped = value.replace("\\", "\\\\").replace("'", "\\'")
    return f"{key}='{escaped}'"
