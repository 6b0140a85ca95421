"""What the viewer knows: votes, who gave them, what the gradient wants. Neither Qt nor napari."""
