"""One file format a module: read, and written back with every value kept."""
