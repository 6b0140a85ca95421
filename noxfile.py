"""The lowest and the newest versions that `pyproject.toml` allows, each tested by one command.

    nox -s lowest                        # the lowest version of each declared dependency
    nox -s newest                        # the newest ones
    nox -s numpy1                        # NumPy 1.26, with the lowest Numba and torch
    nox -s napari_next                   # the viewer on napari's next version, a pre-release
    nox -s lowest -- tests/core tests/cpu    # some tests only
    nox -s docs

The environments are made by uv, which alone can install lowest versions.
"""

import nox

nox.options.default_venv_backend = "uv"
nox.options.sessions = ["lowest", "numpy1", "newest", "napari_next"]

# The tests that use each declared dependency; the others would repeat these ways into it.
DEPENDENCIES = [
    *("-m", "not slow and not gpu"),
    *("tests/core/test_votes.py", "tests/core/test_fields.py", "tests/core/test_arrays.py"),
    *("tests/core/test_open_fields.py", "tests/core/test_cli.py"),  # h5py, tifffile; matplotlib
    "tests/cpu",
    *("tests/torch/test_torch_operator.py", "tests/torch/test_torch_transforms.py"),
    *("tests/torch/test_torch_export.py", "tests/torch/test_detection.py"),  # ONNX; torchvision
    "tests/dask",
    *("tests/viewer/test_plugin.py", "tests/viewer/test_widget.py", "tests/viewer/test_canvas.py"),
    *("tests/viewer/test_compare.py", "tests/viewer/test_show.py", "tests/viewer/test_frames.py"),
    *("tests/viewer/test_conversion.py", "tests/viewer/test_public_names.py"),
    "tests/samples/test_samples.py",  # scikit-image, pillow, pycocotools
]
CPU = [
    *("-m", "not slow and not gpu"),
    *("tests/core/test_votes.py", "tests/core/test_fields.py"),
    *("tests/cpu/test_determinism.py", "tests/cpu/test_cpu_planner.py"),
]
VIEWER = ["-m", "not slow", "tests/viewer"]
ENVIRONMENT = {"NAPARI_ENSURE_PLUGIN_MAIN_THREAD": "1"}


@nox.session(python="3.11")
def lowest(session):
    """Test with the lowest version of each dependency that `pyproject.toml` names."""
    session.install("--resolution", "lowest-direct", "-e", ".[test]")
    session.run("pytest", "-q", *(session.posargs or DEPENDENCIES), env=ENVIRONMENT)


@nox.session(python="3.11")
def numpy1(session):
    """Test votes on the CPU with NumPy 1.26, which other dependencies of the tests would raise."""
    lowest = ("numpy==1.26.0", "numba==0.60.0", "torch==2.6.0", "pytest==8.0.0", "scipy==1.13.0")
    session.install(*lowest, "hypothesis==6.100.0", "joblib==1.3.0", "-e", ".[plot]")
    session.run("pytest", "-q", *(session.posargs or CPU), env=ENVIRONMENT)


@nox.session
def newest(session):
    """Test with the newest version of each dependency."""
    # torch by name: else uv prefers the newest CUDA toolkit, for which there is an old torch only.
    session.install("--upgrade", "torch", "torchvision", "-e", ".[test]")
    session.run("pytest", "-q", *(session.posargs or DEPENDENCIES), env=ENVIRONMENT)


@nox.session
def napari_next(session):
    """Test the viewer with the newest napari, pre-releases included."""
    # A bound that is itself a pre-release lets uv take one, of this package only.
    session.install("--upgrade", "napari[pyqt6]>=0.10.0a0", "-e", ".[test]")
    session.run("pytest", "-q", *(session.posargs or VIEWER), env=ENVIRONMENT)


@nox.session
def docs(session):
    """Build the site; warnings are errors."""
    session.install("-e", ".[docs]")
    session.run("python", "-m", "mkdocs", "build", "--strict")
