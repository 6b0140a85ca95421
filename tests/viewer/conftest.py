"""A window for all tests of a module; those with a window of napari's have the marker `window`."""

import gc

import pytest

WINDOWS = {"make_napari_viewer", "viewer", "two", "shared", "shared_two"}


def pytest_collection_modifyitems(items):
    for item in items:
        if WINDOWS & set(getattr(item, "fixturenames", ())):
            item.add_marker(pytest.mark.window)


@pytest.fixture(scope="module")
def shared(qapp):
    """A window with the dock widget and no layers, for all tests of a module: it takes 2 s."""
    import napari
    from napari._qt.qt_viewer import QtViewer
    from napari._qt.threads.status_checker import StatusChecker
    from viewer_support import dock, remember_defaults

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(StatusChecker, "start", lambda self: None)  # as make_napari_viewer does
        remember_defaults()
        viewer = napari.Viewer(show=True, show_welcome_screen=False)
        viewer.window.resize(1500, 900)
        yield dock(viewer)
        viewer.window._qt_window._save_current_window_settings = lambda: None
        viewer.close()
    remember_defaults()
    gc.collect()
    QtViewer._instances.clear()  # make_napari_viewer of the next module counts them


@pytest.fixture(scope="module")
def shared_two(shared):
    """The widget of the shared window, with `viewer_support.two_parts`."""
    from viewer_support import add_fields, two_parts

    add_fields(shared._viewer, two_parts())
    shared.wait()
    return shared


@pytest.fixture
def shown(shared):
    """Open fields, or a sample by its name, as the only layers of the shared window."""
    from viewer_support import PLUGIN, SHOWN, add_fields

    viewer = shared._viewer

    def show(fields):
        viewer.layers.clear()
        shared.wait()
        shared.open_tab("Compare")
        for kind, box in shared.compare.shown.items():
            box.setChecked(kind in SHOWN)
        if isinstance(fields, str):
            viewer.open_sample(PLUGIN, fields)
        else:
            add_fields(viewer, fields)
        shared.wait()
        shared.canvas.reset_view()
        return shared

    return show
