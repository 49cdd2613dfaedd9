"""How well the class can be told from a handful of numbers: a linear probe, cross-validated by patient."""

from typing import TYPE_CHECKING

from medimg.checks.association import Strength, Units, strength

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_FOLDS = 5
_RIDGE = 1.0  # for standardised features
_AT_ONCE = 2**23  # numbers in memory at a time


def probe(features: "NDArray[np.float64]", units: Units, permutations: int, seed: int = 0) -> Strength:
    """AUC of a ridge regression on one-hot labels (a linear discriminant), with its permutation p.

    Ridge regression fits all permutations of the labels in one go, where other models would take minutes. The AUC is
    one class against the rest, averaged over classes; 0.5 is chance. Folds hold whole patients and are drawn without
    looking at labels, so that the labels as they are have no advantage over permuted ones.

    Args:
        features: [images, features], on any scale.
        units: who is permuted and kept together.
        permutations: how many.
        seed: of folds and permutations.
    """
    import numpy as np

    folds = _folds(units, seed)
    labels = units.permuted(permutations, seed + 1)
    at_once = max(1, _AT_ONCE // (len(features) * units.classes))
    found = []
    for part in np.array_split(labels, range(at_once, len(labels), at_once)):
        targets = (part[:, units.of_image, None] == np.arange(units.classes)).astype(
            np.float32
        )  # [some, images, classes]
        found.append(_auc(_out_of_fold(features, targets, folds), targets))
    return strength(np.concatenate(found))


def _folds(units: Units, seed: int) -> "NDArray[np.int64]":
    import numpy as np

    groups, group_of_image = np.unique(units.group_of_image, return_inverse=True)
    fold_of_group = np.random.default_rng(seed).permutation(len(groups)) % _FOLDS
    fold: NDArray[np.int64] = fold_of_group[group_of_image.reshape(-1)]
    return fold


def _out_of_fold(
    features: "NDArray[np.float64]", targets: "NDArray[np.float32]", folds: "NDArray[np.int64]"
) -> "NDArray[np.float32]":
    """Scores of the shape of the targets, each from the folds that the image is not in."""
    import numpy as np
    from sklearn.linear_model import Ridge
    from sklearn.preprocessing import StandardScaler

    some, images, classes = targets.shape
    flat = targets.transpose(1, 0, 2).reshape(images, some * classes)
    scores = np.zeros_like(flat)
    for fold in np.unique(folds):
        held_out = folds == fold
        if held_out.all():
            continue
        scaler = StandardScaler().fit(features[~held_out])
        known = flat[~held_out]
        # the mean is left out of the scores: it is high where the held-out fold has few of a class
        model = Ridge(_RIDGE, fit_intercept=False)
        model.fit(scaler.transform(features[~held_out]), known - known.mean(axis=0))
        scores[held_out] = model.predict(scaler.transform(features[held_out])).reshape(-1, flat.shape[1])
    return scores.reshape(images, some, classes).transpose(1, 0, 2)


def _auc(scores: "NDArray[np.float32]", targets: "NDArray[np.float32]") -> "NDArray[np.float64]":
    """The mean over classes of each one's AUC against the rest, ties being half: [some] of [some, images, classes]."""
    import numpy as np
    from scipy.stats import rankdata

    ranks = rankdata(scores, axis=1)
    positive = targets.sum(axis=1)
    negative = targets.shape[1] - positive
    with np.errstate(divide="ignore", invalid="ignore"):
        wins = (ranks * targets).sum(axis=1) - positive * (positive + 1) / 2
        each = wins / (positive * negative)
    mean: NDArray[np.float64] = np.nanmean(np.where(positive * negative > 0, each, np.nan), axis=1)
    return mean
