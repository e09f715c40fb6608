"""The main file of each folder of results: what tells such a folder from any other."""

CLUSTERS = "clusters.npz"
SERIES = "series.json"
FIT = "fit.json"
ANNOTATION = "labels.mrc"
SEGMENTATION = "segmentation.mrc"
RECONSTRUCTION = "reconstruction.json"
VARIABILITY = "variability.json"
