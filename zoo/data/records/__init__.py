"""Packed data sets: TFRecord files, their checks, and batches made of them."""
