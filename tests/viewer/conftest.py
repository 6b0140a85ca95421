"""Tests whose viewer is a window of napari's have the marker `window`."""

import gc

import pytest

WINDOWS = {"make_napari_viewer", "viewer", "two", "shared"}


def pytest_collection_modifyitems(items):
    for item in items:
        if WINDOWS & set(getattr(item, "fixturenames", ())):
            item.add_marker(pytest.mark.window)


@pytest.fixture(scope="module")
def shared(qapp):
    """The widget of a window that is shown, with `viewer_support.two_parts`; one for a module.

    A module that uses it does not use `make_napari_viewer`, which wants to be alone.
    """
    import napari
    from viewer_support import add_fields, dock, remember_defaults, two_parts

    remember_defaults()
    viewer = napari.Viewer(show=True)
    viewer.window.resize(1400, 850)
    add_fields(viewer, two_parts())
    yield dock(viewer)
    viewer.close()
    qapp.processEvents()
    gc.collect()
