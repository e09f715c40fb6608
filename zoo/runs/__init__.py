"""Run folders: configuration, checkpoints, figures and the data that a run was made from."""
