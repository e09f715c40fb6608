"""Subtomograms that come as the images of their tilts: geometry, weights, and the volume made of them."""
