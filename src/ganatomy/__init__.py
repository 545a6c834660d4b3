"""Train, measure, compare and diagnose GANs."""

__version__ = "0.1.0"
