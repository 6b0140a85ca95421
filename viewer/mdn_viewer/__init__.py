"""The napari plugin of mdn-cupy: see a network's votes move, ask them questions, train them.

`mdn_viewer.show(confidence, offsets)` opens a window from Python, `mdn-viewer pose` from the
command line, Layers > Visualize > Mass displacement in a napari that is open.

Imports go one way, from the first row to the last; `pyproject.toml` holds them to it:

    __main__, actions, …  the command line; napari's commands
    window, process  the window from Python, in this process or one of its own
    widget           the dock widget: puts all of it together
    widgets          controls, inputs, tabs; from layers to a session
    settings, reader, writer, latest_worker, watching
                     what the viewer remembers, how files are opened, saved and watched, where votes
                     are counted
    canvas           the maps side by side on a vispy canvas of their own, and what lies over them
    layers, export   fields as napari layers and back; results as layers; files
    core             fields and parameters -> maps, voters, gradients. Neither Qt nor napari

A change of a control is a new `VotingSession`; the model has a worker vote for it, and tells all
who listen what came of it: the canvas, the tabs, the status bar. Tests drive the core without a
window.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mdn_viewer.window import MassDisplacementWindow, show

__all__ = ["MassDisplacementWindow", "show"]


def __getattr__(name: str) -> Any:  # napari takes seconds to import
    if name in __all__:
        from importlib.util import find_spec

        if find_spec("napari") is None:
            raise ModuleNotFoundError(
                f'mdn_viewer.{name}: napari is not installed: pip install "mdn-cupy[viewer]"',
                name="napari",
            )
        from mdn_viewer import window

        return getattr(window, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
