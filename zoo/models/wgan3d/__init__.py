"""`wgan3d`: known complexes → any number of complexes that could be (pseudo-complexes)."""
