import os
import signal
import sys
from contextlib import suppress

import pytest
from hypothesis import settings

import mdn_cupy as mdn

pytest.register_assert_rewrite("backends", "bench_support", "helpers", "cuda_host")

import torch  # noqa: E402
from backends import BACKENDS, Cupy, TorchCuda  # noqa: E402
from cuda_host.backend import CudaHost  # noqa: E402

with suppress(ImportError):
    import triton  # noqa: F401  # as mdn_viewer.show does: behind a window it would crash

BACKENDS["cuda-host"] = CudaHost()
ON_A_GPU = {}
if mdn.backends()["cuda"].works:
    ON_A_GPU["cuda"] = Cupy()
    if torch.cuda.is_available():
        ON_A_GPU["torch-cuda"] = TorchCuda()
BACKENDS.update(ON_A_GPU)

settings.register_profile(
    "reproducible", derandomize=True, deadline=None, database=None, max_examples=60
)
settings.load_profile("reproducible")


# A shell's background job ignores Ctrl+C, and so would the processes of the tests that send it.
signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_addoption(parser, pluginmanager):
    """Know the keys of pytest-xvfb where it is not installed: --strict-config refuses others."""
    if not pluginmanager.hasplugin("xvfb"):
        for key in ("xvfb_width", "xvfb_height", "xvfb_colordepth"):
            parser.addini(key, "of pytest-xvfb, which is not installed")


def pytest_runtest_setup(item):
    """Fail a test that needs a window where there is no display: Qt would end the process."""
    if "qapp" in item.fixturenames and sys.platform.startswith("linux"):
        displays = {"DISPLAY", "WAYLAND_DISPLAY", "QT_QPA_PLATFORM"} & set(os.environ)
        assert displays, "this test opens a window, and there is no display: install pytest-xvfb"


def _marked(name):
    return pytest.param(name, marks=pytest.mark.gpu) if name in ON_A_GPU else name


@pytest.fixture(scope="session", params=map(_marked, BACKENDS))
def backend(request):
    return BACKENDS[request.param]


@pytest.fixture(autouse=True)
def viewer_on_the_cpu(monkeypatch):
    """Whose bits the viewer's tests compare, wherever they run; those of the GPU undo it."""
    if "mdn_viewer.core.device" in sys.modules:
        device = sys.modules["mdn_viewer.core.device"]
        backends = mdn.backends()
        without = {**backends, "cuda": backends["cuda"]._replace(works=False)}
        monkeypatch.setattr(device, "_backends", lambda: without)


@pytest.fixture
def make_napari_viewer(make_napari_viewer):
    """napari's own, with the widget as it first is: a test before may have asked for other maps."""
    from viewer_support import freeze, remember_defaults

    freeze()
    remember_defaults()
    return make_napari_viewer


@pytest.fixture
def viewer(make_napari_viewer):
    """A napari viewer whose window is not shown; the maps of both rules are."""
    from viewer_support import remember_defaults

    remember_defaults(shown={"noisy_or", "additive", "confidence"})
    return make_napari_viewer(show=False)


@pytest.fixture
def two(viewer):
    """The dock widget of a viewer with the field set `viewer_support.two_parts`."""
    from viewer_support import add_fields, dock, two_parts

    add_fields(viewer, two_parts())
    return dock(viewer)
