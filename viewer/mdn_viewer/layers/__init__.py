"""Field sets as napari layers, and back; where layers lie; what they must be."""
