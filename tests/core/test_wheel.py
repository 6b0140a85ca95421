"""The wheel, installed alone, is the whole library."""

import re
import zipfile
from pathlib import Path

import pytest
from helpers import ROOT, run_python

import mdn_cupy

SAMPLES = ["coins", "delta", "faces", "nuclei", "pose", "trained"]
PACKAGES = {"mdn_cupy": ROOT / "mdn_cupy", "mdn_viewer": ROOT / "viewer" / "mdn_viewer"}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    pip("wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", str(folder), str(ROOT))
    (built,) = folder.iterdir()
    return built


@pytest.fixture(scope="module")
def metadata(wheel):
    """Reads a file of the wheel's metadata."""

    def read(name):
        with zipfile.ZipFile(wheel) as archive:
            (path,) = (n for n in archive.namelist() if n.endswith(f".dist-info/{name}"))
            return archive.read(path).decode().splitlines()

    return read


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory):
    """A folder that holds what the wheel installs and nothing else."""
    target = tmp_path_factory.mktemp("site")
    pip("install", "--no-deps", "--no-compile", "--target", str(target), str(wheel))
    return target


def pip(*arguments):
    run_python("-m", "pip", "--disable-pip-version-check", "--quiet", *arguments)


def run_installed(installed, code, folder):
    """Run code that finds the installed wheel before any other copy of the library."""
    return run_python(
        "-I", "-c", f"import sys; sys.path.insert(0, {str(installed)!r})\n{code}", cwd=folder
    )


def members(wheel):
    with zipfile.ZipFile(wheel) as archive:
        return set(archive.namelist())


def test_only_the_two_packages_are_at_its_top(wheel):
    tops = {name.partition("/")[0] for name in members(wheel)}
    assert {top for top in tops if not top.endswith(".dist-info")} == set(PACKAGES)
    assert len(tops) == 3


@pytest.mark.parametrize("package", PACKAGES)
def test_every_file_of_a_package_is_in_it(wheel, package):
    folder = PACKAGES[package]
    ours = {
        f"{package}/{file.relative_to(folder).as_posix()}"
        for file in folder.rglob("*")
        if file.is_file() and "__pycache__" not in file.parts
    }
    theirs = {name for name in members(wheel) if name.startswith(f"{package}/")}
    assert {name for name in theirs if "/_samples/" not in name} == ours


def test_it_carries_the_samples(wheel):
    names = {"README.md", *(f"{name}.mdn" for name in SAMPLES)}
    assert {n for n in members(wheel) if "/_samples/" in n} == {
        f"mdn_cupy/_samples/{name}" for name in names
    }


def test_its_metadata_say_what_it_is(metadata):
    lines = metadata("METADATA")
    assert f"Version: {mdn_cupy.__version__}" in lines
    assert "Classifier: Typing :: Typed" in lines
    assert "Classifier: Framework :: napari" in lines
    urls = [line for line in lines if line.startswith("Project-URL: ")]
    assert {line.split()[1] for line in urls} >= {"Documentation,", "Source,", "Issues,"}
    assert all("//example.org/mdn-cupy" in line for line in urls)  # until there is a host


def test_the_version_stands_in_one_place():
    citation = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    assert f"\nversion: {mdn_cupy.__version__}\n" in citation
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert f"\n## {mdn_cupy.__version__}" in changelog
    assert mdn_cupy.__version__ not in (ROOT / "pyproject.toml").read_text(encoding="utf-8")


def test_it_needs_numpy_and_numba_alone(metadata):
    lines = (line.partition(": ") for line in metadata("METADATA"))
    needed = [what for key, _, what in lines if key == "Requires-Dist"]
    names = [re.match(r"[\w-]+", each)[0] for each in needed if "extra ==" not in each]
    assert sorted(names) == ["numba", "numpy"]
    plot = [each for each in needed if each.endswith("extra == 'plot'")]
    assert sorted(re.match(r"[\w-]+", each)[0] for each in plot) == ["matplotlib", "tqdm"]


def test_it_carries_its_licence_scripts_and_manifest(metadata):
    assert metadata("licenses/LICENSE")
    assert {
        "mdn-cupy = mdn_cupy.__main__:main",
        "mdn-viewer = mdn_viewer.__main__:main",
        "[napari.manifest]",
        "mdn-cupy = mdn_viewer:napari.yaml",
    } <= set(metadata("entry_points.txt"))


@pytest.mark.slow
def test_installed_alone_it_opens_the_samples_and_votes(installed, tmp_path):
    code = """
import mdn_cupy as mdn
print(mdn.__file__)
for name in mdn.samples.names():
    fields = mdn.samples.load(name)
    m = fields.votes(0).noisy_or()
    print(mdn.samples.path(name), m.max() > 0.01)
"""
    library, *samples = run_installed(installed, code, tmp_path).splitlines()
    assert library == str(installed / "mdn_cupy" / "__init__.py")
    folder = installed / "mdn_cupy" / "_samples"
    assert samples == [f"{folder / name}.mdn True" for name in SAMPLES]


def test_installed_alone_its_command_line_works(installed, tmp_path):
    code = """
from mdn_cupy.__main__ import main
raise SystemExit(main(["vote", "delta", "-o", "map.npy"]) or main(["info"]))
"""
    assert f"samples {', '.join(SAMPLES)}" in run_installed(installed, code, tmp_path)
    assert (tmp_path / "map.npy").exists()


@pytest.mark.slow
def test_a_wheel_that_is_imported_from_as_it_is_has_the_samples(wheel, tmp_path):
    code = """
import mdn_cupy as mdn
from mdn_cupy.__main__ import main
assert ".whl" in mdn.__file__
assert mdn.samples.names() == ["coins", "delta", "faces", "nuclei", "pose", "trained"]
path = mdn.samples.path("pose")
assert path == mdn.samples.path("pose") and mdn.load_fields(path).names[0] == "nose"
print(path)
raise SystemExit(main(["vote", "delta", "-o", "map.npy"]))
"""
    copy, *_ = run_installed(wheel, code, tmp_path).splitlines()
    assert (tmp_path / "map.npy").exists()
    assert not Path(copy).exists()  # when the process has ended


def test_a_checkout_in_an_archive_has_the_samples(tmp_path):
    archive = tmp_path / "checkout.zip"
    with zipfile.ZipFile(archive, "w") as checkout:
        for folder in ("mdn_cupy", "samples"):
            for file in (ROOT / folder).rglob("*.*"):
                if "__pycache__" not in file.parts and file.is_file():
                    checkout.write(file, file.relative_to(ROOT))
    code = "import mdn_cupy as mdn; print(mdn.__file__, mdn.samples.load('pose').names[0])"
    assert run_installed(archive, code, tmp_path).endswith("nose\n")
