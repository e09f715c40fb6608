"""Particles in a tomogram without templates: difference of Gaussians, peaks, and how good they are."""
