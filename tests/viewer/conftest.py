"""Tests whose viewer is a window of napari's have the marker `window`."""

import pytest

WINDOWS = {"make_napari_viewer", "viewer", "two"}


def pytest_collection_modifyitems(items):
    for item in items:
        if WINDOWS & set(getattr(item, "fixturenames", ())):
            item.add_marker(pytest.mark.window)
