"""The errors that a model was most sure of."""

import numpy as np

from medimg.evaluation.predictions import Predictions

MOST = 12


def confident_mistakes(predictions: Predictions, most: int = MOST) -> list[int]:
    """Rows of a table whose prediction is wrong, the highest probability of the wrong class first.

    Equal ones, as where a model is so sure that probabilities round to 1, go by how far the wrong class's logit is
    above the right one's.
    """
    rows = np.flatnonzero(predictions.predicted != predictions.labels)
    wrong = predictions.predicted[rows]
    sure = predictions.probabilities[rows, wrong]
    ahead = predictions.logits[rows, wrong] - predictions.logits[rows, predictions.labels[rows]]
    order = np.lexsort((rows, -ahead, -sure))
    return [int(row) for row in rows[order][:most]]
