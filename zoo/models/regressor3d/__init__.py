"""`regressor3d`: the inverse of a generator of maps, maps → the latents that it would make them of."""
