"""The columns of particles and subtomograms, declared with their units."""
