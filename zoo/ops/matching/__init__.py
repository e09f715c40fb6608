"""Where templates lie in volumes: search, refinement, and the sums that make averages of what was found."""
