"""Writes the report of a folder: its figures, report.html and model_card.md."""

from collections.abc import Mapping
from pathlib import Path

from medimg.files import write_bytes, write_text
from medimg.reporting.report.pictures import Picture, draw
from medimg.reporting.report.source import read_source


def write_report(folder: Path) -> Mapping[str, Picture]:
    """Writes `figures/*.png`, `report.html` and `model_card.md` from what is in a folder; returns the figures.

    Raises:
        RequestError: a file of the folder is damaged.
        OSError: the disk is full, or may not be written to.
    """
    from medimg.reporting.drawing import png
    from medimg.reporting.report.card import write_card
    from medimg.reporting.report.page import render

    source = read_source(folder)
    pictures = draw(source)
    for old in (folder / "figures").glob("*.png"):
        old.unlink()
    for name, picture in pictures.items():
        write_bytes(folder / "figures" / f"{name}.png", png(picture.pixels))
    write_text(folder / "report.html", render(source, pictures))
    write_card(source, folder)
    return pictures
