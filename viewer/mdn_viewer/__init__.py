"""The napari plugin of mdn-cupy: see a network's votes move, ask them questions, train them.

Arrows go one way; only the last two rows know Qt::

    logic      session (fields and parameters -> maps), device, sweep, provenance,
               target -> losses -> descent, snippet, export, tables
    state      model (the one thing that changes), descending (steps down a loss), jobs
    layers     layers and reader (field sets as layers), stage with its cells and its curtain
               (napari's grid), maps, overlays, pull_layers, target_layers, clicks; canvas and
               quick_canvas (what is private in napari)
    controls   controls, inputs, compare, picker, readout, worker, turns and garbage (who does what
               when), settings, plot, panels/
    window     widget (puts all of it together), __main__ (mdn-viewer), display

A change of a control is a new `VotingSession`; the model has a worker vote for it, and tells all
who listen what came of it: the layers, the panels, the status bar. Layers come and go in turns of
the event loop, so that the window never stands still for long. Tests drive logic and state without
a window.
"""
