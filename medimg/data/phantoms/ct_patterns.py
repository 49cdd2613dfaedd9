"""The five patterns of the CT phantoms: each paints the inside of both lungs of a slice."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.random import Generator

from medimg.data.phantoms.canvas import Array, Plane, Point, between, cell_walls, clouds, glow, soft, stroke

VESSEL, MASS, GAS = 0.26, 0.84, 0.02


@dataclass(frozen=True, slots=True)
class Lung:
    """One lung of a slice; the arrays are [size, size]."""

    side: int
    """-1: on the left of the image; 1: on its right."""
    centre: Point
    axes: Point
    depth: Array
    """Distance to the pleura; negative outside."""
    angle: Array
    """Direction from the centre: 0 lateral, pi/2 down (dorsal), in radians."""
    air: Array
    """Brightness of the lung without vessels."""
    vessels: Array
    """0..1."""

    def content(self) -> Array:
        """The healthy lung."""
        return self.air + VESSEL * self.vessels

    def place(self, across: float, down: float) -> Point:
        """The point at these parts of the half axes; positive is lateral and dorsal."""
        return self.centre[0] + self.side * across * self.axes[0], self.centre[1] + down * self.axes[1]


@dataclass(frozen=True, slots=True)
class Scene:
    """What a pattern is painted with. How much is drawn from a stream never depends on the difficulty."""

    at: Plane
    lungs: tuple[Lung, ...]
    patient: Generator
    shot: Generator
    difficulty: float

    def strength(self, easy: float, hard: float) -> float:
        """A size or contrast at this difficulty; some patients show less than others, the harder the more so."""
        mild = self.patient.uniform(0, 0.4) * self.difficulty
        return between(easy, hard, self.difficulty) * (1 - mild)


def _normal(scene: Scene) -> list[Array]:
    return [lung.content() for lung in scene.lungs]


def _ild(scene: Scene) -> list[Array]:
    """Honeycombing and haze below the pleura of both lungs, most of it dorsal."""
    strength = scene.strength(0.9, 0.1)
    band = scene.patient.uniform(0.09, 0.14)
    walls = cell_walls(scene.patient, scene.at, scene.patient.uniform(0.085, 0.11))
    painted = []
    for lung in scene.lungs:
        lower = 0.35 + 0.65 * soft(np.sin(lung.angle) + scene.patient.uniform(0.0, 0.4), 1.2)
        where = strength * lower * np.exp(-(np.clip(lung.depth, 0, None) ** 2) / (2 * band**2))
        fibrosis = lung.air - 0.1 + 0.62 * walls
        painted.append(lung.content() * (1 - where) + fibrosis * where)
    return painted


def _lung_cancer(scene: Scene) -> list[Array]:
    """One spiculated mass within one lung."""
    chosen = scene.patient.integers(2)
    contrast, radius = scene.strength(1.0, 0.65), scene.strength(0.22, 0.14) * scene.shot.uniform(0.9, 1.1)
    radius = max(radius, 0.05)
    lung = scene.lungs[chosen]
    turn, far = scene.patient.uniform(-2.2, 1.6), scene.patient.uniform(0.2, 0.5)
    centre = lung.place(far * np.cos(turn) + 0.08, far * np.sin(turn))
    x, y = scene.at.x - centre[0], scene.at.y - centre[1]
    angle = np.arctan2(y, x)
    waves = scene.patient.uniform((0.0, 0.0), (0.1, 2 * np.pi), (4, 2))
    outline = 1 + sum(a * np.cos(k * angle + p) for k, (a, p) in enumerate(waves, 2))
    mask = soft(radius * outline - np.hypot(x, y), max(0.03, 1.5 * scene.at.pixel))
    count = 9
    directions = np.linspace(0, 2 * np.pi, count, endpoint=False) + scene.patient.uniform(-0.25, 0.25, count)
    for direction, length in zip(directions, scene.patient.uniform(1.35, 1.9, count), strict=True):
        tip = centre[0] + length * radius * np.cos(direction), centre[1] + length * radius * np.sin(direction)
        stroke(mask, scene.at, centre, tip, 0.016, 0.75)
    painted = _normal(scene)
    painted[chosen] = painted[chosen] * (1 - contrast * mask) + MASS * contrast * mask
    return painted


def _pneumonia(scene: Scene) -> list[Array]:
    """A hazy consolidation in part of one lung: soft, uneven, sharp only at a fissure."""
    chosen = scene.patient.integers(2)
    contrast, extent = scene.strength(1.0, 0.55), between(1.1, 0.9, scene.difficulty)
    lung = scene.lungs[chosen]
    centre = lung.place(scene.patient.uniform(-0.2, 0.35), scene.patient.uniform(-0.4, 0.6))
    axes = extent * scene.patient.uniform(0.19, 0.26), extent * scene.patient.uniform(0.22, 0.32)
    fissure = scene.patient.uniform(-0.5, 0.5)
    size = scene.at.x.shape[0]
    cloud = np.clip(1 + 0.6 * clouds(scene.patient, size), 0.0, 1.6)
    mask = np.clip(1.25 * glow(scene.at, centre, axes) * cloud, 0, 1)
    beyond = (scene.at.y - centre[1] + 0.8 * axes[1]) + fissure * (scene.at.x - centre[0])
    mask = contrast * mask * (0.25 + 0.75 * soft(beyond, 0.06))
    painted = _normal(scene)
    painted[chosen] = painted[chosen] * (1 - mask) + 0.58 * mask
    return painted


def _pneumothorax(scene: Scene) -> list[Array]:
    """A crescent of free air, black and without vessels, between the chest wall and the edge of one lung."""
    chosen = scene.patient.integers(2)
    contrast, gap = scene.strength(1.0, 0.75), scene.strength(0.34, 0.2) * scene.shot.uniform(0.9, 1.1)
    lung = scene.lungs[chosen]
    # The patient lies on the back, so that air gathers at the front and the side.
    facing = scene.patient.uniform(-1.3, -0.1)
    width = gap * np.clip(np.cos(lung.angle - facing) * 1.2, -0.3, 1)
    edge = lung.depth - width
    free = contrast * soft(-edge, max(0.02, 1.5 * scene.at.pixel)) * (width > 0)
    pleura = np.exp(-((edge / 0.016) ** 2)) * (width > 0.25 * gap) * min(1.0, 0.02 / scene.at.pixel)
    collapsed = lung.content() + 0.07 * contrast + 0.3 * contrast * pleura
    painted = _normal(scene)
    painted[chosen] = collapsed * (1 - free) + GAS * free
    return painted


PAINTERS: dict[str, Callable[[Scene], list[Array]]] = {
    "ILD": _ild,
    "Lung_Cancer": _lung_cancer,
    "Normal": _normal,
    "pneumonia": _pneumonia,
    "pneumothorax": _pneumothorax,
}
"""The pattern of each class; new ones go to the end, as the position is part of the random streams."""
