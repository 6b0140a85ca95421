"""What the viewer draws: fields, maps and answers as layers of napari's, cell by cell."""
