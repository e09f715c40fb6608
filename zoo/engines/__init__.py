"""Gradients, sums and random numbers on TensorFlow and JAX; an engine knows no model."""
