"""What an import loads, and what works without the libraries that are optional."""

import pytest
from helpers import BLOCK, ROOT, environment, run_python

HEAVY = {"cupy", "numba", "torch", "dask", "napari", "matplotlib", "scipy", "skimage", "qtpy"}
HEAVY |= {"h5py", "tifffile", "zarr", "tqdm"}

VOTE = """
import numpy as np
import mdn_cupy as mdn

c, o = np.full((4, 5), 0.5, np.float32), np.zeros((2, 4, 5), np.float32)
votes = mdn.Votes(c, o, 1.0)
m, log_complement, s = votes.compare("plain_sum")
g = votes.noisy_or_vjp(m, log_complement=log_complement)
assert m.max() > 0.9 and s.max() > 0.4 and g.confidence.shape == (4, 5)
mdn.check_fields(c, o, 1.0)
assert mdn.reference.noisy_or(c, o, 1.0).shape == (4, 5)
assert mdn.samples.load("pose").names[0] == "nose"
"""


def test_importing_the_package_loads_nothing_heavy():
    code = f"import sys, mdn_cupy; print(sorted({HEAVY} & set(sys.modules)))"
    assert run_python("-c", code) == "[]\n"


def test_the_command_line_imports_no_more_than_it_must_before_it_minds_ctrl_c():
    code = """
import sys
import mdn_cupy.__main__
print(*sorted(name for name in sys.modules if name.startswith("mdn_cupy")))
print({"numpy", "enum", "re", "typing"} & set(sys.modules))
"""
    code = f"import sys; sys.path.append({str(ROOT)!r})\n{code}"
    ours, slow = run_python("-I", "-S", "-c", code).splitlines()  # not what site imports
    assert ours == "mdn_cupy mdn_cupy.__main__ mdn_cupy.interrupts"
    assert slow == "set()"


def test_voting_on_numpy_arrays_loads_no_other_array_library_and_no_viewer():
    unwanted = HEAVY - {"numba", "scipy"}  # Numba loads SciPy where there is one
    code = f"{VOTE}\nimport sys; print(sorted({unwanted} & set(sys.modules)))"
    assert run_python("-c", code) == "[]\n"


def test_modules_load_when_they_are_first_used():
    code = """
import sys, mdn_cupy as mdn
for name in ("reference", "samples", "torch"):
    assert f"mdn_cupy.{name}" not in sys.modules
    assert name in dir(mdn) and (name in mdn.__all__) == (name != "torch")
    print(getattr(mdn, name).__name__)
"""
    loaded = run_python("-c", code).split()
    assert loaded == ["mdn_cupy.reference", "mdn_cupy.samples", "mdn_cupy.torch"]


def test_a_base_install_can_be_looked_at_whole():
    code = """
import inspect, pydoc
import mdn_cupy as mdn

names = [name for name, _ in inspect.getmembers(mdn)]
assert {*mdn.__all__} <= {*names} and "Votes" in pydoc.render_doc(mdn)
assert not {"dask", "torch"} & {*dir(mdn), *names}
exec("from mdn_cupy import *", found := {})
assert "Votes" in found
for name in ("dask", "torch"):
    assert not hasattr(mdn, name)
    try:
        getattr(mdn, name)
    except AttributeError as error:
        print(error)
try:
    from mdn_cupy import torch
except ImportError as error:
    print(error)
"""
    blocked = {"dask", "zarr", "torch", "h5py", "tqdm", "matplotlib", "scipy", "napari"}
    dask, *torch = run_python("-c", BLOCK.format(blocked=blocked) + code).splitlines()
    assert dask == (
        'mdn_cupy.dask needs Dask and Zarr, which are not installed: pip install "mdn-cupy[dask]"'
    )
    assert torch == 2 * [
        'mdn_cupy.torch needs torch, which is not installed: pip install "mdn-cupy[torch]"'
    ]


def test_a_star_import_leaves_the_names_of_other_libraries_alone():
    code = "import dask, torch; from mdn_cupy import *; print(dask.__name__, torch.__name__)"
    assert run_python("-c", code) == "dask torch\n"


def test_a_name_that_there_is_not_is_an_attribute_error():
    import mdn_cupy

    with pytest.raises(AttributeError, match="module 'mdn_cupy' has no attribute 'noisy_and'"):
        mdn_cupy.noisy_and  # noqa: B018


def test_every_public_name_is_there():
    import mdn_cupy

    assert all(hasattr(mdn_cupy, name) for name in mdn_cupy.__all__)


@pytest.mark.parametrize("blocked", [("cupy",), ("torch",), ("cupy", "torch", "napari")], ids=str)
def test_arrays_are_voted_on_without(blocked):
    run_python("-c", BLOCK.format(blocked=set(blocked)) + VOTE)


def test_tensors_are_voted_on_without_cupy():
    code = """
import torch, mdn_cupy as mdn
c = torch.full((4, 5), 0.5, requires_grad=True)
mdn.noisy_or(c, torch.zeros(2, 4, 5), 1.0).sum().backward()
print(float(c.grad.min()) > 0)
"""
    assert run_python("-c", BLOCK.format(blocked={"cupy"}) + code) == "True\n"


def test_without_matplotlib_compare_says_what_to_install_and_the_rest_works(tmp_path):
    code = """
import sys
from mdn_cupy.__main__ import main
assert main(["vote", "delta", "-o", "m.npy"]) == 0
sys.exit(main(["compare", "delta", "-o", "m.png"]))
"""
    code = BLOCK.format(blocked={"matplotlib", "tqdm"}) + code
    assert run_python("-c", code, status=2, cwd=tmp_path) == (
        'mdn-cupy: the figure needs matplotlib; pip install "mdn-cupy[plot]"\n'
    )
    assert [file.name for file in tmp_path.iterdir()] == ["m.npy"]


def test_info_says_what_is_missing_and_how_to_get_it():
    code = """
from mdn_cupy.__main__ import main
raise SystemExit(main(["info"]))
"""
    out = run_python("-c", BLOCK.format(blocked={"cupy"}) + code)
    (cuda,) = (line for line in out.splitlines() if line.startswith("cuda"))
    assert "not here: " in cuda
    assert "cupy" in cuda.lower()
    assert "works: Numba" in out


@pytest.mark.slow
def test_votes_work_where_no_compiled_code_can_be_kept():
    # No folder takes a file: neither the one beside the source, nor the user's, nor any named one.
    code = """
import tempfile

def refuse(*_, **__):
    raise PermissionError(13, "Permission denied")

tempfile.TemporaryFile = refuse
"""
    vote = """
import sys
import numpy as np, mdn_cupy as mdn
sys.stderr = sys.stdout
print(mdn.noisy_or(np.full((4, 4), 0.5, "f4"), np.zeros((2, 4, 4), "f4"), 1.0)[0, 0])
"""
    nowhere = environment(NUMBA_CACHE_DIR="/dev/null/cache")
    printed = run_python("-c", code + vote, env=nowhere)
    assert printed.count("RuntimeWarning") == 1
    assert "cannot be kept (no folder can be written to)" in printed
    assert printed.endswith("0.8461411\n")


@pytest.mark.slow
def test_without_pytest_xvfb_the_tests_run_that_need_no_window():
    one = ("tests/core/test_imports.py", "-k", "every_public_name")
    assert "passed" in run_python("-m", "pytest", "-q", "-p", "no:xvfb", *one, cwd=ROOT)


def test_the_library_reads_no_standard_input_and_prints_nothing():
    assert run_python("-c", VOTE, stdin=-3) == ""
