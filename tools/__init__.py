"""Command-line programs of the zoo: each parses, calls and prints; the work is in ``zoo``."""
