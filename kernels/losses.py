"""All losses under one name; they live in `kernels.softmax` and `kernels.elementwise_losses`."""

from kernels.elementwise_losses import (
    logistic_delta,
    logistic_loss,
    squared_delta,
    squared_labels_delta,
    squared_labels_loss,
    squared_loss,
)
from kernels.softmax import ARGMAX, MAX, SUM, TARGET, argmax_stats, merge_stats, softmax_delta, softmax_stats

__all__ = [
    "ARGMAX",
    "MAX",
    "SUM",
    "TARGET",
    "argmax_stats",
    "logistic_delta",
    "logistic_loss",
    "merge_stats",
    "softmax_delta",
    "softmax_stats",
    "squared_delta",
    "squared_labels_delta",
    "squared_labels_loss",
    "squared_loss",
]
