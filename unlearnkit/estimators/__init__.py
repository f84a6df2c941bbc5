"""Estimators with scikit-learn's interface that can also forget rows of their training data.

Use them with grid search, cross-validation and pipelines. They call the same functions as
:class:`~unlearnkit.session.Session`, but keep no ledger and store nothing on disk. They do not
hold the contents of forgotten rows either.
"""

from unlearnkit.estimators.classifier import UnlearnableClassifier
from unlearnkit.estimators.regressor import UnlearnableRegressor

__all__ = ["UnlearnableClassifier", "UnlearnableRegressor"]
