"""Phantoms: synthetic chest images, drawn once into the cache folder, for trying everything out without any data."""

from pathlib import Path

from medimg.config.data import CovidPhantomConfig, CTPhantomConfig
from medimg.data.phantoms import ct, xray
from medimg.data.phantoms.write import Kind, write_phantoms

__all__ = ["draw_covid_phantoms", "draw_ct_phantoms"]

_CT = Kind("ct", 0, ct.PATTERNS, ct.draw_slice)
_COVID = Kind("covid", 1, xray.PATTERNS, xray.draw_film)


def draw_ct_phantoms(config: CTPhantomConfig, cache: Path) -> Path:
    """A folder of synthetic chest CT slices, 8-bit grey, with train/ and test/, class folders and metadata.csv.

    Drawn below `cache`/phantoms at the first call with these settings; see `write_phantoms` for what is promised.
    """
    return write_phantoms(_CT, config, cache)


def draw_covid_phantoms(config: CovidPhantomConfig, cache: Path) -> Path:
    """The same for frontal chest X-rays, clear or with the opacities of COVID-19."""
    return write_phantoms(_COVID, config, cache)
