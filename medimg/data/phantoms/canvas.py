"""What phantoms are painted with: a plane of coordinates, soft edges, strokes, smooth noise, cells, exposure.

Everything is float64: a last-bit difference between two machines then cannot change an 8-bit pixel in practice.
"""

from dataclasses import dataclass

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

Array = NDArray[np.float64]
Point = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Plane:
    """The coordinates of every pixel: x to the right and y down, -1..1 across the image; arrays [size, size]."""

    x: Array
    y: Array
    pixel: float

    def moved(self, shift: Point, angle: float, scale: float) -> "Plane":
        """The plane as seen by an object that is shifted, turned (radians) and enlarged by `scale`."""
        x, y = self.x - shift[0], self.y - shift[1]
        cos, sin = np.cos(angle) / scale, np.sin(angle) / scale
        return Plane(cos * x + sin * y, cos * y - sin * x, self.pixel / scale)

    def window(self, start: Point, end: Point, margin: float) -> tuple[slice, slice]:
        """The rows and columns that hold all pixels within `margin` of the line from start to end."""
        left, top = float(self.x[0, 0]), float(self.y[0, 0])
        right, down = float(self.x[0, 1]) - left, float(self.y[0, 1]) - top
        # A step to the next column is (right, down), one to the next row is (-down, right).
        length = right * right + down * down
        columns, rows = zip(
            *(
                (((x - left) * right + (y - top) * down) / length, ((y - top) * right - (x - left) * down) / length)
                for x, y in (start, end)
            ),
            strict=True,
        )
        more = margin / self.pixel + 1
        return _span(rows, more), _span(columns, more)


def _span(places: tuple[float, ...], more: float) -> slice:
    return slice(max(0, int(min(places) - more)), max(0, int(max(places) + more) + 1))


def plane(size: int) -> Plane:
    """The plane of a square image of `size` pixels a side."""
    axis = (np.arange(size) + 0.5) * (2 / size) - 1
    x, y = np.meshgrid(axis, axis)
    return Plane(x, y, 2 / size)


def between(start: float, end: float, at: float) -> float:
    """The value `at` (0..1) of the way from start to end."""
    return start + (end - start) * at


def soft(depth: Array, width: float) -> Array:
    """A mask of what is deeper than 0, rising smoothly from 0 to 1 over `width`."""
    ramp = np.clip(depth / width + 0.5, 0, 1)
    return ramp * ramp * (3 - 2 * ramp)


def ellipse(at: Plane, centre: Point, axes: Point) -> Array:
    """How deep each pixel lies inside an ellipse; about a distance near its edge, negative outside."""
    squared = ((at.x - centre[0]) / axes[0]) ** 2 + ((at.y - centre[1]) / axes[1]) ** 2
    return (1 - np.sqrt(squared)) * min(axes)


def glow(at: Plane, centre: Point, axes: Point) -> Array:
    """A Gaussian hill of height 1 with these standard deviations."""
    return np.exp(-0.5 * (((at.x - centre[0]) / axes[0]) ** 2 + ((at.y - centre[1]) / axes[1]) ** 2))


def stroke(onto: Array, at: Plane, start: Point, end: Point, width: float, strength: float = 1.0) -> None:
    """Draws a straight line with a soft profile into `onto`, which keeps what is brighter.

    A line thinner than a pixel turns fainter instead, as partial volume does.
    """
    across = max(width, 0.6 * at.pixel)
    window = at.window(start, end, 3 * across)
    x, y = at.x[window] - start[0], at.y[window] - start[1]
    dx, dy = end[0] - start[0], end[1] - start[1]
    along = np.clip((x * dx + y * dy) / (dx * dx + dy * dy + 1e-12), 0, 1)
    squared = (x - along * dx) ** 2 + (y - along * dy) ** 2
    line = strength * min(1.0, width / across) * np.exp(squared / (-0.7 * across * across))
    np.maximum(onto[window], line, out=onto[window])


def smooth_noise(rng: Generator, size: int, cells: int) -> Array:
    """Noise of mean 0 and deviation of about 1 whose grain is an image side divided by `cells`; [size, size]."""
    position = (np.arange(size) + 0.5) * (cells / size)
    left = np.floor(position).astype(np.intp)
    ramp = position - left
    ramp = ramp * ramp * (3 - 2 * ramp)
    weights = np.zeros((size, cells + 1))
    weights[np.arange(size), left] = 1 - ramp
    weights[np.arange(size), left + 1] = ramp
    return 1.35 * (weights @ rng.standard_normal((cells + 1, cells + 1)) @ weights.T)


def clouds(rng: Generator, size: int) -> Array:
    """Noise of mean 0 and deviation of about 1 with coarse and fine grain, for hazy lesions; [size, size]."""
    return 0.65 * smooth_noise(rng, size, 9) + 0.75 * smooth_noise(rng, size, 21)


def cell_walls(rng: Generator, at: Plane, spacing: float) -> Array:
    """A honeycomb: 1 on the walls between irregular cells about `spacing` wide, 0 in their middles (Worley's noise)."""
    reach = int(np.ceil(2.5 / spacing))
    seeds = rng.uniform(0.1, 0.9, (2, 2 * reach, 2 * reach))
    u, v = at.x / spacing, at.y / spacing
    column, row = np.floor(u).astype(np.intp), np.floor(v).astype(np.intp)
    nearest = np.full(u.shape, 9.0)
    second = nearest
    for i in (-1, 0, 1):
        for j in (-1, 0, 1):
            place = (row + i) % (2 * reach), (column + j) % (2 * reach)
            distance = np.hypot(column + j + seeds[0][place] - u, row + i + seeds[1][place] - v)
            second = np.minimum(second, np.maximum(nearest, distance))
            nearest = np.minimum(nearest, distance)
    walls: Array = np.clip(1 - (second - nearest) / 0.45, 0, 1)
    return walls


def expose(image: Array, patient: Generator, shot: Generator, difficulty: float) -> NDArray[np.uint8]:
    """The 8-bit picture: gain, level and gamma at random, so that brightness tells no class; then grain."""
    gain = patient.uniform(0.78, 1.12) * shot.uniform(0.97, 1.03)
    level = patient.uniform(-0.03, 0.04) + shot.uniform(-0.01, 0.01)
    gamma = patient.uniform(0.8, 1.25)
    size = image.shape[0]
    grain = 0.75 * shot.standard_normal((size, size)) + 0.65 * smooth_noise(shot, size, max(2, size // 2))
    seen = np.clip(image, 0, 1.2) ** gamma * gain + level + between(0.01, 0.045, difficulty) * grain
    return np.rint(np.clip(seen, 0, 1) * 255).astype(np.uint8)
