"""Training: gradient engines, the loop, run folders, exact resume, distribution."""
