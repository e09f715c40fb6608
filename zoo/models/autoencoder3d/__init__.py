"""`autoencoder3d`: cubes of a tomogram in a few numbers each, to be clustered."""
