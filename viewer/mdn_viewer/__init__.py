"""The napari plugin of mdn-cupy: see a network's votes move.

What is computed and what is shown are apart, and what knows Qt is thin::

    .mdn file ──> reader ──> layers ──┐
                                      ├──> widget ──> worker: session.vote() ──> maps
    layers that are open already ─────┘

`session`, `layers` and `reader` know no window; tests drive them without one.
"""
