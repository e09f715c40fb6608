"""Trained models for others: SavedModels with named signatures, and the pretrained ones."""
