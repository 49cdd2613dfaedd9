import numpy as np
import pytest
from scipy.stats import rankdata
from sklearn.metrics import average_precision_score, roc_auc_score

from medimg.evaluation.ranking import Ranking, ranks


def draw(decimals, n=120, units=30, seed=0):
    rng = np.random.default_rng(seed)
    member = rng.random(n) < 0.3
    scores = (rng.normal(size=n) + member).round(decimals)
    return scores, member, rng.permutation(np.arange(n) % units)


@pytest.mark.parametrize("decimals", [0, 1, 9])
def test_weights_are_those_of_scikit_learn(decimals):
    scores, member, codes = draw(decimals)
    weights = np.random.default_rng(1).integers(0, 4, (20, 30)).astype(float)
    ranking = Ranking.of(scores, member, codes)
    auroc, average = ranking.auroc(weights), ranking.average_precision(weights)
    each = [row[codes] for row in weights]
    assert auroc == pytest.approx([roc_auc_score(member, scores, sample_weight=row) for row in each])
    assert average == pytest.approx([average_precision_score(member, scores, sample_weight=row) for row in each])


def test_not_defined_where_a_side_has_no_weight():
    ranking = Ranking.of(np.array([1.0, 2.0, 3.0]), np.array([False, False, True]), np.arange(3))
    weights = np.array([[1.0, 1.0, 0.0], [0.0, 0.0, 1.0], [1.0, 1.0, 1.0]])
    auroc, average = ranking.auroc(weights), ranking.average_precision(weights)
    assert np.isnan(auroc).tolist() == np.isnan(average).tolist() == [True, True, False]
    assert auroc[2] == average[2] == 1


def test_nothing_is_defined_without_images():
    none = Ranking.of(np.zeros(0), np.zeros(0, dtype=bool), np.zeros(0, dtype=int))
    for value in (none.auroc(np.ones((2, 0))), none.average_precision(np.ones((2, 0)))):
        assert value.shape == (2,)
        assert np.isnan(value).all()


@pytest.mark.parametrize("decimals", [0, 1, 9])
def test_influence_is_the_derivative_by_a_units_weight(decimals):
    scores, member, codes = draw(decimals)
    ranking = Ranking.of(scores, member, codes)
    step = 1e-6 * np.eye(30)
    for found, evaluate in zip(ranking.influence(30), (ranking.auroc, ranking.average_precision), strict=True):
        assert found == pytest.approx((evaluate(1 + step) - evaluate(1 - step)) / 2e-6, abs=1e-8)


def test_ranks_keep_the_order_of_log_odds_and_their_ties():
    logits = np.random.default_rng(0).normal(size=(50, 3)).round(0)
    odds = np.stack([logits[:, k] - np.logaddexp.reduce(np.delete(logits, k, 1), axis=1) for k in range(3)], axis=1)
    places = ranks(logits)
    assert (np.sign(places[:, None] - places) == np.sign((odds[:, None] - odds).round(9))).all()
    mean_ranks = rankdata(odds.round(9), axis=0)
    assert places == pytest.approx((mean_ranks - 0.5) / 50)
