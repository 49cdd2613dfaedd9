"""Frontal chest X-ray films: clear lungs, or the patchy opacities at the edge of both lungs of COVID-19."""

from dataclasses import dataclass

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from medimg.data.phantoms.canvas import (
    Array,
    Plane,
    Point,
    between,
    clouds,
    ellipse,
    expose,
    glow,
    plane,
    smooth_noise,
    soft,
    stroke,
)

PATTERNS = ("normal", "covid")
"""The names of the patterns; their order is part of the random streams."""


@dataclass(frozen=True, slots=True)
class Anatomy:
    """What stays the same in all films of a patient; lengths in half image sides."""

    across: float
    down: float
    apart: float
    top: float
    domes: Point
    heart: tuple[float, float, float]
    tilt: float
    ribs: tuple[float, float, float]
    bone: float
    breasts: float
    haze: float
    angle: float
    scale: float
    shift: Point
    waves: Array


def draw_film(pattern: str, patient: Generator, shot: Generator, size: int, difficulty: float) -> NDArray[np.uint8]:
    """One film, uint8 [size, size].

    `patient` must be in the same state for all films of a patient, `shot` in another for each of them.
    """
    anatomy = _anatomy(patient)
    breath = shot.uniform(-0.03, 0.03)
    shift = anatomy.shift[0] + shot.uniform(-0.02, 0.02), anatomy.shift[1] + shot.uniform(-0.02, 0.02)
    at = plane(size).moved(shift, anatomy.angle + shot.uniform(-0.03, 0.03), anatomy.scale)
    lungs = [_lung(at, anatomy, side, breath) for side in (-1, 1)]
    image = _torso(at, anatomy)
    for side, lung in zip((-1, 1), lungs, strict=True):
        air = soft(lung, 0.09)
        vessels = _vessels(at, anatomy, side, patient) * soft(lung - 0.03, 0.12)
        opacity = _opacity(at, anatomy, side, patient, shot, difficulty) if pattern == "covid" else 0.0
        image += air * (-0.37 + anatomy.haze + 0.09 * vessels + opacity)
    image += _middle(at, anatomy) + _bones(at, anatomy, np.maximum(*lungs))
    for side in (-1, 1):
        image += anatomy.breasts * glow(at, (side * 0.45, 0.35), (0.2, 0.17))
    texture = between(0.006, 0.03, difficulty) * smooth_noise(shot, size, 11)
    texture += between(0.045, 0.055, difficulty) * smooth_noise(patient, size, 4)
    return expose(image + texture, patient, shot, difficulty)


def _anatomy(rng: Generator) -> Anatomy:
    u = rng.uniform
    return Anatomy(
        across=u(0.29, 0.35),
        down=u(0.64, 0.74),
        apart=u(0.4, 0.45),
        top=u(-0.82, -0.74),
        domes=(u(0.38, 0.5), u(0.42, 0.56)),
        heart=(u(0.06, 0.12), u(0.3, 0.4), u(0.22, 0.27)),
        tilt=u(0.45, 0.8),
        ribs=(u(0.15, 0.18), u(0, 1), u(0.25, 0.5)),
        bone=u(0.05, 0.085),
        breasts=u(0, 0.14),
        haze=u(-0.05, 0.06),
        angle=u(-0.06, 0.06),
        scale=u(0.92, 1.14),
        shift=(u(-0.09, 0.09), u(-0.09, 0.09)),
        waves=rng.uniform((0.0, 0.0), (0.03, 2 * np.pi), (2, 3, 2)),
    )


def _torso(at: Plane, anatomy: Anatomy) -> Array:
    """The soft tissue of neck, shoulders, chest and belly on a black film."""
    aside = np.abs(at.x)
    neck = 0.22 - aside
    trunk = np.minimum(0.9 - 0.04 * at.y - aside, at.y - anatomy.top - 0.02 - 0.3 * aside**3 + 0.1 * np.exp(-4 * aside))
    belly = 0.14 * soft(at.y - 0.5, 0.5)
    return 0.02 + (0.5 + belly) * soft(np.maximum(neck, trunk), 0.1)


def _lung(at: Plane, anatomy: Anatomy, side: int, breath: float) -> Array:
    """How deep each pixel lies within a lung field, which ends at the dome of the diaphragm."""
    which = (side + 1) // 2
    centre = side * anatomy.apart, anatomy.top + anatomy.down
    dy = (at.y - centre[1]) / anatomy.down
    # A lung is narrow at its apex, and there nearer to the middle.
    widen = 1 + 0.22 * np.clip(dy, -1, 1)
    dx = side * (at.x - centre[0] + side * 0.1 * np.clip(-dy, 0, 1)) / (anatomy.across * widen)
    turn = np.arctan2(dy, dx)
    edge = 1 + sum(a * np.cos(k * turn + p) for k, (a, p) in enumerate(anatomy.waves[which], 2))
    depth = (edge - (np.abs(dx) ** 2.4 + np.abs(dy) ** 2.4) ** (1 / 2.4)) * anatomy.across
    dome = anatomy.domes[which] + breath + 0.3 * (at.x - side * (anatomy.apart - 0.06)) ** 2 / anatomy.across
    field: Array = np.minimum(np.minimum(depth, 0.8 * (dome - at.y)), -_heart(at, anatomy))
    return field


def _heart(at: Plane, anatomy: Anatomy) -> Array:
    """How deep each pixel lies within the heart, whose tip points down and to the right of the image."""
    turned = at.moved((anatomy.heart[0], 0.2), anatomy.tilt, 1.0)
    return np.maximum(ellipse(turned, (0, 0), anatomy.heart[1:]), ellipse(at, (0.02, -0.05), (0.15, 0.3)))


def _vessels(at: Plane, anatomy: Anatomy, side: int, rng: Generator) -> Array:
    """The vessels, thick at the hilum and thin towards the edge; 0..1."""
    hilum = side * 0.17, -0.05 + rng.uniform(-0.04, 0.04)
    drawn = 0.8 * glow(at, hilum, (0.07, 0.12))
    for direction in np.linspace(-1.3, 1.25, 8) + rng.uniform(-0.15, 0.15, 8):
        reach = rng.uniform(0.2, 0.3)
        end = hilum[0] + side * reach * np.cos(direction), hilum[1] + 1.3 * reach * np.sin(direction)
        stroke(drawn, at, hilum, end, 0.018, 0.8)
        for turn in rng.uniform(0.1, 0.4, 2) * (1, -1):
            tip = end[0] + side * 0.25 * np.cos(direction + turn), end[1] + 0.3 * np.sin(direction + turn)
            stroke(drawn, at, end, tip, 0.012, 0.6)
    return drawn


def _middle(at: Plane, anatomy: Anatomy) -> Array:
    """What lies in the middle adds to the tissue: spine, large vessels, heart, and the dark windpipe."""
    body = 0.6 * soft(0.14 - np.abs(at.x) + 0.02 * np.cos(5 * at.y), 0.12)
    discs = 0.025 * np.cos(2 * np.pi * at.y / 0.16) * soft(0.09 - np.abs(at.x), 0.04)
    heart = soft(_heart(at, anatomy), 0.1) * soft(0.48 - at.y, 0.5)
    arch = soft(ellipse(at, (0.12, -0.27), (0.09, 0.1)), 0.06)
    windpipe = soft(0.035 - np.abs(at.x), 0.03) * soft(-0.2 - at.y, 0.1)
    return 0.2 * np.maximum(np.maximum(heart, arch), body) + discs - 0.1 * windpipe


def _bones(at: Plane, anatomy: Anatomy, lungs: Array) -> Array:
    """Ribs, which fall from the spine to the side behind and rise again in front, and the collar bones."""
    spacing, phase, slope = anatomy.ribs
    aside = np.abs(at.x)
    cage = soft(lungs + 0.07, 0.06) * soft(aside - 0.08, 0.06)
    back = np.cos(2 * np.pi * ((at.y - slope * aside - 0.25 * (aside - 0.35) ** 2) / spacing + phase))
    front = np.cos(2 * np.pi * ((at.y + 1.1 * aside - 0.9 * aside**2) / (1.35 * spacing) + phase))
    ribs = soft(back - 0.25, 0.7) + 0.5 * soft(front - 0.35, 0.7) * soft(aside - 0.25, 0.2)
    collar = np.zeros(at.x.shape)
    for side in (-1, 1):
        stroke(collar, at, (side * 0.1, anatomy.top + 0.2), (side * 0.62, anatomy.top + 0.06), 0.035)
    return anatomy.bone * (ribs * cage + 1.3 * collar)


def _opacity(at: Plane, anatomy: Anatomy, side: int, patient: Generator, shot: Generator, difficulty: float) -> Array:
    """Hazy, uneven patches, most of them at the side and in the lower half; added brightness."""
    mild = patient.uniform(0, 0.45) * difficulty
    cloud = np.clip(0.45 + 0.65 * clouds(patient, at.x.shape[0]), -0.1, 1.4)
    patches = np.zeros(at.x.shape)
    for _ in range(4):
        across, down = patient.uniform(0.1, 0.85), patient.uniform(-0.45, 0.45)
        axes = patient.uniform(0.09, 0.15), patient.uniform(0.11, 0.18)
        centre = side * (anatomy.apart + across * anatomy.across) + shot.uniform(-0.01, 0.01), 0.08 + down
        patches = np.maximum(patches, patient.uniform(0.6, 1.0) * glow(at, centre, axes))
    return between(0.58, 0.26, difficulty) * (1 - mild) * patches * cloud
