"""What of an image is not the disease, as numbers for the probes: properties of its file, and its border."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from medimg.checks.headers import Header
from medimg.checks.looks import FRAME, GRID, Look, Seen

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_COMPONENTS = 24  # of the border
_BINS = 5


def file_features(headers: Sequence[Header | None], looks: Sequence[Seen]) -> "dict[int, Sequence[float]]":
    """What is no content of an image: format, mode, depth, size, aspect, length of the file, brightness, contrast.

    Numbers are in quantile bins, so that a linear probe sees a class of mid-sized images too.
    """
    import numpy as np
    from sklearn.preprocessing import KBinsDiscretizer

    places = [
        i for i, (header, look) in enumerate(zip(headers, looks, strict=True)) if header and isinstance(look, Look)
    ]
    pairs = [(headers[i], looks[i]) for i in places]
    numbers, kinds = [], []
    for header, look in pairs:
        assert header is not None and isinstance(look, Look)  # chosen so above
        height, width = look.size
        per_pixel = header.length / (height * width)
        brightness, contrast = float(look.means.mean()), float(look.means.std() + look.spreads.mean())
        numbers.append([height, width, width / height, per_pixel, brightness, contrast, look.black, look.white])
        kinds.append((header.format, header.mode, str(header.bits)))
    if not places:
        return {}
    table = np.array(numbers)
    table = table[:, table.min(axis=0) < table.max(axis=0)]
    parts = [np.array([[kind == one for one in sorted(set(kinds))] for kind in kinds], float)]
    if table.shape[1]:
        import warnings

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # bins of the same edges are joined, as they should be
            bins = KBinsDiscretizer(_BINS, encode="onehot-dense", strategy="quantile", subsample=None)
            parts += [bins.fit_transform(table), table]
    return dict(zip(places, np.hstack(parts), strict=True))


def border_features(looks: Sequence[Seen]) -> "dict[int, NDArray[np.float32]]":
    """The outer eighth on each side, the middle masked: mean and spread of each cell, as principal components."""
    import numpy as np
    from sklearn.decomposition import PCA

    border = np.ones((GRID, GRID), bool)
    border[FRAME:-FRAME, FRAME:-FRAME] = False
    found = {
        place: np.concatenate([look.means[border], look.spreads[border]])
        for place, look in enumerate(looks)
        if isinstance(look, Look)
    }
    if len(found) < 2:
        return {}
    table = np.stack(list(found.values()))
    table = table[:, table.min(axis=0) < table.max(axis=0)]
    if not table.shape[1]:
        return {}
    table = (table - table.mean(axis=0)) / np.maximum(table.std(axis=0), 1e-6)
    components = PCA(min(_COMPONENTS, *table.shape), random_state=0).fit_transform(table)
    return dict(zip(found, components, strict=True))
