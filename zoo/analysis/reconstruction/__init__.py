"""Maps from particle images with poses: half sets, back-projection, local refinement, FSC, files."""
