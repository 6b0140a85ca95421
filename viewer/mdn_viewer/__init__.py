"""The napari plugin of mdn-cupy: see a network's votes move, ask them questions, train them.

Arrows go one way, from the last row to the first; `pyproject.toml` holds them to it:

    logic      session (fields and parameters -> maps), device, sweep, provenance,
               target -> losses -> descent, snippet, tables; model (the one thing that changes),
               descending (steps down a loss), jobs. Neither Qt nor napari.
    scene      layers (field sets as layers of napari's) and checks of them; stage with its
               arrangement of cells and its curtain (napari's grid); maps, overlays of marks,
               pull_layers, target_layers, clicks, export; turns and garbage (who does what when);
               canvas and quick/ (all that touches what is private in napari)
    settings, reader, worker
               what the viewer remembers, how napari opens a file, where votes are counted
    panels     controls, inputs, picker, opening (from layers to a session), part_slider, compare,
               readout, plot, and one panel for each question: voters, sweep, gradient, save
    widget     puts all of it together, for napari's menu; __main__ for `mdn-viewer`

A change of a control is a new `VotingSession`; the model has a worker vote for it, and tells all
who listen what came of it: the layers, the panels, the status bar. Layers come and go in turns of
the event loop, so that the window never stands still for long. Tests drive the logic without a
window.
"""
