"""`edss3d`: what every voxel of a tomogram belongs to, learned from cubes whose voxels are labelled."""
