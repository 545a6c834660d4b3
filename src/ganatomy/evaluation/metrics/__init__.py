"""Metrics: functions of the features of generated and of real images.

To add one, write a function from Comparison to named Estimates, and add an entry to METRICS.
"""

from ganatomy.evaluation.metrics.check import check_metric
from ganatomy.evaluation.metrics.comparison import (
    CPU,
    Comparison,
    Estimate,
    Extracted,
    Metric,
    Moments,
    TooFewImagesError,
    Value,
    available,
    require,
)
from ganatomy.evaluation.metrics.distances import frechet, moments, trace_sqrt
from ganatomy.evaluation.metrics.modes import class_counts
from ganatomy.evaluation.metrics.neighbors import nearest
from ganatomy.evaluation.metrics.registry import (
    ALIASES,
    BUILT_IN,
    METRICS,
    metric_of,
    register_metric,
    resolve_metrics,
    value,
    values,
)

__all__ = [
    "ALIASES",
    "BUILT_IN",
    "CPU",
    "METRICS",
    "Comparison",
    "Estimate",
    "Extracted",
    "Metric",
    "Moments",
    "TooFewImagesError",
    "Value",
    "available",
    "check_metric",
    "class_counts",
    "frechet",
    "metric_of",
    "moments",
    "nearest",
    "register_metric",
    "require",
    "resolve_metrics",
    "trace_sqrt",
    "value",
    "values",
]
