"""The estimators are scikit-learn's: its own checks."""

from collections.abc import Mapping

import pytest

pytest.importorskip("sklearn", "1.6")

from sklearn.utils.estimator_checks import parametrize_with_checks

import dbmpi

# Steps are of minibatches: an example of weight 2 makes one step, and two examples may make two.
STEPS = "an example of weight 2 is one of a minibatch, and not two, one after the other"


def expected_to_fail(estimator: object) -> Mapping[str, str]:
    """Return the checks that an estimator cannot pass, each with its reason."""
    return {"check_sample_weight_equivalence_on_dense_data": STEPS}


@parametrize_with_checks(
    [dbmpi.Classifier(max_iter=30), dbmpi.Regressor(max_iter=30)], expected_failed_checks=expected_to_fail
)
def test_checks_of_scikit_learn(estimator, check):
    check(estimator)
