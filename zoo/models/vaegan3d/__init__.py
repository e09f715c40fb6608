"""`vaegan3d`: unsupervised heterogeneous reconstruction from raw particles."""
