"""Scores of maps, views and clusters: NumPy, SciPy and scikit-learn only."""
