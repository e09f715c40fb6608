"""What every voxel of a tomogram is, by a trained model: windows in, whole volumes out, memory flat."""
