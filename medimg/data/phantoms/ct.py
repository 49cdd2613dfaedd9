"""Axial chest CT slices in a lung window: the anatomy of a patient, and a slice through it with a pattern."""

from dataclasses import dataclass

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from medimg.data.phantoms import ct_patterns
from medimg.data.phantoms.canvas import (
    Array,
    Plane,
    Point,
    between,
    ellipse,
    expose,
    plane,
    smooth_noise,
    soft,
    stroke,
)

PATTERNS = tuple(ct_patterns.PAINTERS)
"""The names of the patterns; their order is part of the random streams."""

AIR, LUNG, FAT, TISSUE, BLOOD, BONE = 0.03, 0.29, 0.6, 0.7, 0.76, 0.95


@dataclass(frozen=True, slots=True)
class Anatomy:
    """What stays the same in all slices of a patient; lengths in half image sides."""

    body: Point
    wall: float
    lung_width: float
    lung_height: float
    density: float
    heart: Point
    spine: float
    aorta: Point
    level: float
    angle: float
    scale: float
    shift: Point
    waves: Array
    rib_phase: float


def draw_slice(pattern: str, patient: Generator, shot: Generator, size: int, difficulty: float) -> NDArray[np.uint8]:
    """One slice, uint8 [size, size].

    `patient` must be in the same state for all slices of a patient, `shot` in another for each of them.
    """
    anatomy = _anatomy(patient)
    level = np.clip(anatomy.level + shot.uniform(-0.12, 0.12), 0, 1)
    shift = anatomy.shift[0] + shot.uniform(-0.02, 0.02), anatomy.shift[1] + shot.uniform(-0.02, 0.02)
    at = plane(size).moved(shift, anatomy.angle + shot.uniform(-0.03, 0.03), anatomy.scale)
    lungs = tuple(_lung(at, anatomy, side, level, patient, shot) for side in (-1, 1))
    painter = ct_patterns.PAINTERS[pattern]
    scene = ct_patterns.Scene(at, lungs, patient, shot, difficulty)
    inside = painter(scene)
    image = _chest_wall(at, anatomy)
    for lung, content in zip(lungs, inside, strict=True):
        mask = soft(lung.depth, 1.5 * at.pixel)
        image = image * (1 - mask) + content * mask
    texture = between(0.006, 0.025, difficulty) * smooth_noise(shot, size, 12)
    return expose(image + texture, patient, shot, difficulty)


def _anatomy(rng: Generator) -> Anatomy:
    u = rng.uniform
    return Anatomy(
        body=(u(0.84, 0.93), u(0.62, 0.74)),
        wall=u(0.11, 0.16),
        lung_width=u(0.9, 1.08),
        lung_height=u(0.92, 1.08),
        density=u(-0.04, 0.04),
        heart=(u(0.05, 0.11), u(0.17, 0.25)),
        spine=u(0.1, 0.13),
        aorta=(u(0.1, 0.16), u(0.055, 0.075)),
        level=u(0.25, 0.75),
        angle=u(-0.07, 0.07),
        scale=u(0.96, 1.1),
        shift=(u(-0.05, 0.05), u(-0.05, 0.05)),
        waves=rng.uniform((0.0, 0.0), (0.045, 2 * np.pi), (2, 4, 2)),
        rib_phase=u(0, 2 * np.pi),
    )


def _chest_wall(at: Plane, anatomy: Anatomy) -> Array:
    """Everything but the lungs: skin, fat, muscle, ribs, heart, spine, aorta, airways and the couch."""
    depth = ellipse(at, (0, 0), anatomy.body)
    image = np.full(at.x.shape, AIR)
    couch = np.abs(at.y - 0.86 + 0.12 * at.x**2) - 0.012
    image += 0.3 * soft(-couch, 2 * at.pixel)

    def paint(depth: Array, value: float) -> None:
        nonlocal image
        mask = soft(depth, 1.5 * at.pixel)
        image = image * (1 - mask) + value * mask

    paint(depth, FAT)
    paint(depth - 0.35 * anatomy.wall, TISSUE)
    turn = np.arctan2(at.y, at.x)
    ribs = np.cos(9 * turn + anatomy.rib_phase) - 0.35
    paint(np.minimum(0.035 * ribs, 0.022 - np.abs(depth - 0.72 * anatomy.wall)), BONE)
    paint(ellipse(at, (anatomy.heart[0], -0.12), (anatomy.heart[1], 0.24)), BLOOD)
    spine = 0.62 * anatomy.body[1]
    paint(ellipse(at, (0, spine), (anatomy.spine * 1.15, anatomy.spine)), BONE)
    paint(ellipse(at, (0, spine + anatomy.spine * 1.3), (0.05, 0.04)), 0.6)
    stroke(image, at, (0, spine + anatomy.spine * 1.8), (0, anatomy.body[1] - 0.03), 0.035, BONE)
    for side in (-1, 1):
        wing = side * 0.22, spine + anatomy.spine * 1.3
        stroke(image, at, (0, spine + anatomy.spine), wing, 0.035, BONE)
    paint(ellipse(at, (anatomy.aorta[0], spine - 0.16), (anatomy.aorta[1], anatomy.aorta[1])), 0.88)
    for side in (-1, 1):
        paint(ellipse(at, (0.02 + side * 0.075, 0.08), (0.036, 0.03)), 0.08)
    return image


def _lung(
    at: Plane, anatomy: Anatomy, side: int, level: float, patient: Generator, shot: Generator
) -> ct_patterns.Lung:
    """The outline of a lung; its medial edge is cut out by the heart, which grows towards the base, and the spine."""
    across = 0.325 * anatomy.lung_width * between(0.9, 1.05, level)
    down = (anatomy.body[1] - anatomy.wall) * 0.96 * anatomy.lung_height * between(0.88, 1.0, level)
    across, down = min(across, 0.39), min(down, anatomy.body[1] - 0.6 * anatomy.wall)
    outer = anatomy.body[0] - anatomy.wall
    centre = side * (outer - across), 0.02
    dx, dy = side * (at.x - centre[0]) / across, (at.y - centre[1]) / down
    angle = np.arctan2(dy, dx)
    edge = 1 + sum(a * np.cos(k * angle + p) for k, (a, p) in enumerate(anatomy.waves[(side + 1) // 2], 2))
    depth = (edge - np.hypot(dx, dy)) * across
    heart = ellipse(at, (anatomy.heart[0], -0.1), (anatomy.heart[1] * between(0.75, 1.1, level), 0.33))
    middle = ellipse(at, (0.0, 0.1), (0.12, 0.6))
    spine = ellipse(at, (0, 0.62 * anatomy.body[1]), (anatomy.spine * 1.35, anatomy.spine * 1.3))
    aorta = ellipse(at, (anatomy.aorta[0], 0.62 * anatomy.body[1] - 0.16), (anatomy.aorta[1] + 0.02,) * 2)
    for organ in (heart, middle, spine, aorta):
        depth = np.minimum(depth, -organ)
    # Blood and the lung's own weight make its lower (dorsal) part denser in everybody.
    air = LUNG + anatomy.density + 0.05 * np.clip(dy, -1, 1)
    vessels = _vessels(at, centre, (side * across, down), patient, shot)
    return ct_patterns.Lung(side, centre, (across, down), depth, angle, air, vessels * soft(depth - 0.05, 0.08))


def _vessels(at: Plane, centre: Point, axes: Point, patient: Generator, shot: Generator) -> Array:
    """A tree of vessels from the hilum outwards, and some that cross the slice and so look like dots; 0..1."""
    drawn = np.zeros(at.x.shape)
    hilum = centre[0] - 0.75 * axes[0], centre[1] + 0.04
    for direction in np.linspace(-1.25, 1.25, 7) + patient.uniform(-0.17, 0.17, 7) + shot.uniform(-0.05, 0.05, 7):
        start, reach, width = hilum, patient.uniform(0.5, 0.75), patient.uniform(0.013, 0.02)
        fork = patient.uniform(0.2, 0.5, 2) * (1, -1)
        end = start[0] + reach * axes[0] * np.cos(direction), start[1] + reach * axes[1] * np.sin(direction)
        stroke(drawn, at, start, end, width)
        for turn in fork:
            length = patient.uniform(0.4, 0.7)
            tip = (
                end[0] + length * axes[0] * np.cos(direction + turn),
                end[1] + length * axes[1] * np.sin(direction + turn),
            )
            stroke(drawn, at, end, tip, 0.6 * width, 0.8)
    for across, down, width in patient.uniform((-0.6, -0.7, 0.016), (0.6, 0.7, 0.03), (9, 3)):
        dot = centre[0] + across * axes[0] + shot.uniform(-0.01, 0.01), centre[1] + down * axes[1]
        stroke(drawn, at, dot, dot, width)
    return drawn
