"""Quicker parts for napari's window. With `scene.canvas`, all that reaches into what is private.

Each of them takes the place of one of napari's where that is built as napari 0.9 builds it; where
it is not, everything stays as napari has it, and takes longer.
"""
