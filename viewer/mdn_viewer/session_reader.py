"""Opens session files in napari, by the widget: a session is more than layers."""

from __future__ import annotations

from collections.abc import Callable, Sequence

__all__ = ["get_reader"]

Paths = str | Sequence[str]


def get_reader(path: Paths) -> Callable[[Paths], list[tuple[None]]]:
    """Return the reader of session files."""
    return _read


def _read(path: Paths) -> list[tuple[None]]:
    """Open sessions in the current window, or say in a line why not: other files are opened too."""
    from napari import current_viewer
    from napari.utils.notifications import show_error

    from mdn_viewer.widget import widget_of

    viewer = current_viewer()
    if viewer is None:
        raise ValueError(f"{path}: a session needs a window; open it by mdn-viewer")
    sessions = widget_of(viewer).sessions
    for each in [path] if isinstance(path, str) else path:
        try:
            sessions.open(each)
        except (OSError, TypeError, ValueError) as error:
            show_error(str(error))
    return [(None,)]  # napari's word for no layers: the widget has added them
