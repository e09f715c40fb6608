"""``abinitio3d``: reference-free heterogeneous reconstruction from particle images."""
