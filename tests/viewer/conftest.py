"""A window for all tests of a module; those with a window of napari's have the marker `window`."""

import gc

import pytest

WINDOWS = {"make_napari_viewer", "viewer", "two", "shared", "shared_two"}


def pytest_collection_modifyitems(items):
    for item in items:
        if WINDOWS & set(getattr(item, "fixturenames", ())):
            item.add_marker(pytest.mark.window)


@pytest.fixture(autouse=True, scope="session")
def nothing_compiled_beside():
    """Leave the processors to the tests: what they call compiles here, if it has to."""
    from mdn_viewer.core import compilation

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(compilation, "begin", lambda: None)
        yield


@pytest.fixture(autouse=True, scope="session")
def manifests_read_once():
    """Keep the manifests of all plugins, which napari reads again for every window: 0.3 s."""
    from npe2 import PluginManifest

    found = [*PluginManifest.discover()]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(PluginManifest, "discover", lambda **_: found)
        yield


@pytest.fixture(scope="module")
def shared(qapp):
    """A window with the dock widget and no layers, for all tests of a module: it takes 2 s."""
    import napari
    from app_model import Application
    from napari._app_model._app import NapariApplication, _napari_names
    from napari._qt._qapp_model.qactions import init_qactions
    from napari._qt.qt_viewer import QtViewer
    from napari._qt.threads.status_checker import StatusChecker
    from napari.plugins import _initialize_plugins
    from viewer_support import dock, freeze, remember_defaults

    freeze()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(StatusChecker, "start", lambda self: None)  # as make_napari_viewer does
        app = NapariApplication("shared")  # or actions would be registered twice
        app.injection_store.namespace = _napari_names
        patch.setattr(NapariApplication, "get_app_model", lambda *_: app)
        remember_defaults()
        viewer = napari.Viewer(show=True, show_welcome_screen=False)
        viewer.window.resize(1500, 900)
        yield dock(viewer)
        viewer.window._qt_window._save_current_window_settings = lambda: None
        viewer.close()
        Application.destroy("shared")
        _initialize_plugins.cache_clear()
        init_qactions.cache_clear()
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
