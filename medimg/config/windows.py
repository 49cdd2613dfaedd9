"""CT windows: which Hounsfield units become black and white, by name or as centre and width."""

from collections.abc import Sequence
from math import isfinite
from typing import NamedTuple

from medimg.errors import RequestError, suggestion

WindowValue = str | float | Sequence[str | float | Sequence[float]]


class Window(NamedTuple):
    """A range of values: `center - width / 2` becomes 0, `center + width / 2` becomes 1, and what lies outside is cut.

    In Hounsfield units for CT. This is the function LINEAR_EXACT of DICOM (PS3.3 C.11.2.1.3.2).
    """

    center: float
    width: float

    @property
    def low(self) -> float:
        """The value that becomes 0."""
        return self.center - self.width / 2


# Lung and bone as Radiopaedia lists them ("Windowing (CT)", radiopaedia.org/articles/windowing-ct). For the
# mediastinum 40/400 is the soft tissue window of most scanners and of much published work; Radiopaedia has 50/350.
NAMED = {
    "lung": Window(-600, 1500),
    "mediastinum": Window(40, 400),
    "bone": Window(400, 1800),
}
_ALLOWED = (
    f"a name ({', '.join(NAMED)}), [center,width] in Hounsfield units such as [-600,1500], "
    "or a list of three of these, one for each channel"
)


def parse_windows(value: WindowValue | None) -> tuple[Window, ...]:
    """The windows that `data.window` means: none, one, or three that become the channels.

    Raises:
        RequestError: an unknown name, a width that is not positive, or another number of windows.
    """
    if value is None:
        return ()
    parts = [value] if isinstance(value, str) or _is_pair(value) else value
    if not isinstance(parts, Sequence) or len(parts) not in {1, 3}:
        raise RequestError(f"data.window={_shown(value)} is not one window, nor three. Allowed: {_ALLOWED}.")
    return tuple(_window(part, value) for part in parts)


def _window(part: object, value: WindowValue) -> Window:
    if isinstance(part, str) and part in NAMED:
        return NAMED[part]
    if isinstance(part, str):
        raise RequestError(
            f"data.window={_shown(value)}: there is no window {part!r}. {suggestion(part, NAMED)} Allowed: {_ALLOWED}."
        )
    if not _is_pair(part):
        raise RequestError(f"data.window={_shown(value)}: {part!r} is no window. Allowed: {_ALLOWED}.")
    center, width = (float(number) for number in part)  # type: ignore[attr-defined]  # a pair, as seen above
    if not (isfinite(center) and isfinite(width)):
        raise RequestError(f"data.window={_shown(value)}: centre and width are finite numbers. Allowed: {_ALLOWED}.")
    if width <= 0:
        raise RequestError(f"data.window={_shown(value)}: a window's width must be above 0, and {width:g} is not.")
    return Window(center, width)


def _is_pair(part: object) -> bool:
    return isinstance(part, Sequence) and len(part) == 2 and all(type(number) in {int, float} for number in part)


def _shown(value: object) -> str:
    """As it would be typed."""
    if isinstance(value, Sequence) and not isinstance(value, str):
        return f"[{','.join(_shown(part) for part in value)}]"
    return f"{value:g}" if isinstance(value, int | float) else str(value)
