"""How figures look, and how a figure becomes pixels, a PNG or an SVG."""

from collections.abc import Callable
from functools import wraps
from io import BytesIO
from typing import Any, ParamSpec

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray

from medimg.reporting.tables import shortened

Arguments = ParamSpec("Arguments")
Entries = list[tuple[str, Any]]  # of a legend: name, and line or area

_LONGEST = 28  # letters

# Okabe and Ito, told apart with any colour vision; without their yellow, which is hard to see on white
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
LINES = ("-", "--", "-.", ":")  # so that no line is told by its colour alone
MARKERS = ("o", "s", "^", "D", "v")

_STYLE: Any = {
    "text.parse_math": False,  # a class may be called a$b$
    "font.size": 10,
    "axes.titlesize": 11,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "grid.color": "#dddddd",
    "legend.fontsize": 8,
    "legend.framealpha": 0.9,
    "svg.fonttype": "none",  # text stays text: smaller, and sharp at any size
    "svg.hashsalt": "medimg",  # the same figure is the same file
}


def styled(draw: Callable[Arguments, Figure]) -> Callable[Arguments, Figure]:
    """A function that draws a figure, in the style of all others and whatever the user's own settings are."""

    @wraps(draw)
    def in_style(*args: Arguments.args, **kwargs: Arguments.kwargs) -> Figure:
        with mpl.rc_context(), mpl.rc_context(_STYLE):
            return draw(*args, **kwargs)

    return in_style


def new_figure(width: float = 4.6, height: float = 4.0) -> tuple[Figure, Axes]:
    """An empty figure, in inches, with one panel. It is unknown to pyplot, so nothing has to be closed."""
    figure = Figure(figsize=(width, height), dpi=100, layout="constrained")
    return figure, figure.add_subplot()


def line_style(number: int) -> dict[str, Any]:
    """Colour and dashes of the n-th line; 28 lines differ."""
    return {"color": COLOURS[number % len(COLOURS)], "linestyle": LINES[number // len(COLOURS) % len(LINES)]}


def legend(axes: Axes, entries: Entries, **options: Any) -> None:
    """A legend; of names that begin with an underscore, too, which matplotlib leaves out."""
    names = [f" {short(name)}" if name.startswith("_") else short(name) for name, _ in entries]
    axes.legend([artist for _, artist in entries], names, **options)


def short(name: str) -> str:
    """A name of a class that leaves room for the figure."""
    return shortened(name, _LONGEST)


def pixels(figure: Figure) -> NDArray[np.uint8]:
    """The figure drawn, as [H, W, 3]."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()  # type: ignore[no-untyped-call]
    drawn: NDArray[np.uint8] = np.asarray(canvas.buffer_rgba())[..., :3].copy()  # type: ignore[no-untyped-call]
    return drawn


def png(drawn: NDArray[np.uint8]) -> bytes:
    """Pixels [H, W, 3] as the content of a PNG."""
    from PIL import Image

    stream = BytesIO()
    Image.fromarray(drawn).save(stream, format="PNG")
    return stream.getvalue()


def svg(figure: Figure) -> bytes:
    """The figure as the content of an SVG, without the date; its resolution is another afterwards."""
    from matplotlib.backends.backend_svg import FigureCanvasSVG

    stream = BytesIO()
    with mpl.rc_context(_STYLE):
        # not by savefig, which draws twice
        FigureCanvasSVG(figure).print_svg(stream, metadata={"Date": None})  # type: ignore[no-untyped-call]
    return stream.getvalue()


def pixels_and_svg(figure: Figure) -> tuple[NDArray[np.uint8], bytes]:
    """Both, at the price of one layout."""
    drawn = pixels(figure)
    figure.set_layout_engine("none")
    return drawn, svg(figure)
