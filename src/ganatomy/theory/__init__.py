"""Numerical checks of the theory of GANs on known densities."""
