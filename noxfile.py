"""The lowest and the newest versions that `pyproject.toml` allows, each tested by one command.

    nox -s lowest                        # the lowest version of each declared dependency
    nox -s newest                        # the newest ones
    nox -s lowest -- tests/core tests/cpu    # some tests only
    nox -s docs

The environments are made by uv, which alone can install lowest versions.
"""

import nox

nox.options.default_venv_backend = "uv"
nox.options.sessions = ["lowest", "newest"]

QUICK = [
    "-m",
    "not slow and not gpu",
    "tests/core",
    "tests/cpu",
    "tests/torch",
    "tests/dask",
    "tests/viewer",
]
ENVIRONMENT = {"NAPARI_ENSURE_PLUGIN_MAIN_THREAD": "1"}


@nox.session(python="3.11")
def lowest(session):
    """Test with the lowest version of each dependency that `pyproject.toml` names."""
    session.install("--resolution", "lowest-direct", "-e", ".[test]")
    session.run("pytest", "-q", *(session.posargs or QUICK), env=ENVIRONMENT)


@nox.session
def newest(session):
    """Test with the newest version of each dependency."""
    session.install("--upgrade", "-e", ".[test]")
    session.run("pytest", "-q", *(session.posargs or QUICK), env=ENVIRONMENT)


@nox.session
def docs(session):
    """Build the site; warnings are errors."""
    session.install("-e", ".[docs]")
    session.run("python", "-m", "mkdocs", "build", "--strict")
