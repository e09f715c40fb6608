"""Files ⇄ particle table ⇄ records ⇄ batches: one file format per module."""
