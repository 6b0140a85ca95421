"""Maps side by side on one vispy canvas: cells, their pictures, what lies over them, the mouse."""
