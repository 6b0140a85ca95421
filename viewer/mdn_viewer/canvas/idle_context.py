"""An OpenGL context without objects, which is current while nothing is drawn."""

from __future__ import annotations

from qtpy.QtCore import QCoreApplication
from qtpy.QtGui import QOffscreenSurface, QOpenGLContext, QSurfaceFormat

__all__ = ["make_idle_context_current"]

_made: list[tuple[QOffscreenSurface, QOpenGLContext]] = []  # one, as long as the application


def make_idle_context_current(form: QSurfaceFormat) -> None:
    """Make a context current in which nothing can be deleted.

    napari's canvases delete their objects by number in whichever context is current, and ask that
    one what OpenGL can do; so it may neither be the maps' own nor none.

    Parameters
    ----------
    form : QSurfaceFormat
        What the context is like; that of the first call is kept.
    """
    if not _made:
        application = QCoreApplication.instance()
        surface, context = QOffscreenSurface(None, application), QOpenGLContext(application)
        for each in (surface, context):
            each.setFormat(form)
            each.create()
        _made.append((surface, context))
    ((surface, context),) = _made
    context.makeCurrent(surface)
