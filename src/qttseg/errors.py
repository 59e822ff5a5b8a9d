"""One error root for the whole package: whoever calls qttseg catches `QttSegError`.

A message says what went wrong, where, and what to do about it.
"""

from __future__ import annotations


class QttSegError(Exception):
    """Root of every error that qttseg raises on purpose."""


class DatasetError(QttSegError):
    """A dataset cannot be found, read or split."""


class ConfigurationError(QttSegError):
    """A configuration, protocol or setting holds an unknown key or a value out of its range."""


class StoreError(QttSegError):
    """A learning-curve or result store cannot be read or written."""


class BackboneError(QttSegError):
    """A backbone is unknown, its weights are missing, or a saved model does not fit it."""


class PredictorError(QttSegError):
    """A predictor cannot be trained, found or loaded."""


class LeakageError(PredictorError):
    """A predictor has seen the dataset that it is about to be judged or used on."""


class BudgetError(QttSegError):
    """A time budget is malformed or too small for anything useful."""


class CollectionError(QttSegError):
    """A collection cannot be planned or run."""


class BenchmarkError(QttSegError):
    """A benchmark, method or table was asked for that does not exist or cannot be made."""


class NotSetUpError(BenchmarkError):
    """A method needs something beside this package that has not been set up."""
