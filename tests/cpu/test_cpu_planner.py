"""The division of the work on the CPU, on which no result may depend."""

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import mdn_cupy as mdn
from mdn_cupy import cpu, reference
from mdn_cupy.cpu import jit_options, planner

sides = st.integers(1, 3000)


def scattered(*shape, spread=3.0):
    rng = np.random.default_rng(0)
    confidence = rng.random(shape, np.float32)
    offsets = rng.normal(0, spread, (*shape[:-2], 2, *shape[-2:])).astype(np.float32)
    return confidence, offsets


@given(sides, sides, st.integers(1, 1 << 17))
@settings(max_examples=100)
def test_tiles_cover_every_pixel_once_and_are_as_small_as_wanted(height, width, pixels):
    covered = np.zeros((height, width), np.uint8)
    tiles = planner._cut(height, width, max(pixels, height * width // 500))
    for top, left, rows, columns in tiles:
        assert 0 < rows * columns <= max(pixels, height * width // 500)
        covered[top : top + rows, left : left + columns] += 1
    assert (covered == 1).all()


def reaches(seed, height, width, patches):
    """Boxes top, left, bottom, right around a map, some of them of patches that do not vote."""
    rng = np.random.default_rng(seed)
    corner = rng.uniform(-50, [height + 20, width + 20], (patches, 2))
    corner = np.where(rng.random(corner.shape) < 0.4, np.round(corner), corner)
    boxes = np.hstack([corner, corner + rng.integers(0, rng.choice([3, 200]), corner.shape)])
    boxes[rng.random(patches) < 0.1] = [np.inf, np.inf, -np.inf, -np.inf]
    return np.clip(boxes, -1, 2 * (height, width))


@given(st.integers(1, 300), st.integers(1, 300), st.integers(20, 3000), st.integers(0, 2**32 - 1))
def test_every_tile_gets_the_patches_that_reach_it_in_order(height, width, pixels, seed):
    tiles, reach = planner._cut(height, width, pixels), reaches(seed, height, width, 99)
    top, left, bottom, right = reach.T
    for (y, x, rows, columns), got in zip(
        tiles, planner._meeting(reach, np.array(tiles)), strict=True
    ):
        met = (top < y + rows) & (bottom >= y) & (left < x + columns) & (right >= x)
        np.testing.assert_array_equal(got, np.flatnonzero(met))


def test_planning_looks_at_a_patch_no_more_often_on_a_larger_map(monkeypatch):
    looked_at = []
    met_by = planner._met_by
    monkeypatch.setattr(
        planner,
        "_met_by",
        lambda each, low, high: looked_at.append(len(low)) or met_by(each, low, high),
    )
    for side in (1024, 8192):
        corners = np.stack(np.mgrid[0:side:64, 0:side:64], -1).reshape(-1, 2)
        looked_at.clear()
        tiles = np.array(planner._cut(side, side, 1 << 14))
        found = sum(map(len, planner._meeting(np.hstack([corners, corners + 64.0]), tiles)))
        assert len(corners) <= found <= 6 * len(corners)
        assert sum(looked_at) <= 4 * len(corners)


@pytest.mark.parametrize("largest", [1 << 5, 1 << 9, 1 << 12])
@pytest.mark.parametrize("spread", [3.0, 60.0])
def test_any_tiles_give_the_same_map(monkeypatch, largest, spread):
    fields = scattered(70, 150, spread=spread)
    monkeypatch.setattr(planner, "_LARGEST_TILE", largest)
    got, specified = (library.log_complement(*fields, 1.5) for library in (mdn, reference))
    np.testing.assert_allclose(got, specified, rtol=3e-6)


@pytest.mark.parametrize("pieces_of", [1, 5])
def test_any_pieces_give_the_same_map(monkeypatch, pieces_of):
    fields = scattered(40, 100)
    monkeypatch.setattr(planner, "_patches_per_task", lambda problem: pieces_of)
    for rule in ("noisy_or", "additive"):
        got, specified = (getattr(library, rule)(*fields, 1.5) for library in (mdn, reference))
        np.testing.assert_allclose(got, specified, rtol=3e-6)
    m, _, s = mdn.compare(*fields, 1.5)
    np.testing.assert_array_equal(m, mdn.noisy_or(*fields, 1.5))
    np.testing.assert_array_equal(s, mdn.additive(*fields, 1.5))


@pytest.mark.parametrize("shape", [(1, 4_000), (4_000, 1)])
def test_maps_of_one_row_or_column(shape):
    confidence, offsets = scattered(*shape)
    got, specified = (f.noisy_or(confidence, offsets, 1.3) for f in (mdn, reference))
    np.testing.assert_allclose(got, specified, atol=1e-6)
    gradients = mdn.Votes(confidence, offsets, 1.3).noisy_or_vjp(np.ones_like(got))
    wanted = reference.noisy_or_vjp(np.ones_like(got), confidence, offsets, 1.3)
    for gradient, expected in zip(gradients, wanted, strict=True):
        np.testing.assert_allclose(gradient, expected, rtol=1e-4, atol=1e-5)


def test_a_mass_that_collapses_onto_one_pixel_is_shared_out(monkeypatch):
    pieces = []
    together = cpu._fill_together
    monkeypatch.setattr(
        cpu,
        "_fill_together",
        lambda share, *rest: (pieces.append(len(share.pieces)), together(share, *rest)),
    )
    side = 300
    offsets = (side // 2 - np.indices((side, side))[::-1]).astype(np.float32)
    log_complement = mdn.log_complement(np.full((side, side), 0.5, np.float32), offsets, 1.0)
    assert log_complement[side // 2, side // 2] == pytest.approx(side**2 * np.log(0.5), rel=1e-6)
    assert max(pieces) > 1


@pytest.mark.parametrize("failing", ["new_tile", "new_forward_scratch"])
def test_a_thread_that_fails_stops_the_others_and_says_why(monkeypatch, failing):
    def fail(*_):
        raise MemoryError("no room for a tile")

    monkeypatch.setattr(cpu, failing, fail)
    with pytest.raises(MemoryError, match="no room for a tile"):
        mdn.noisy_or(*scattered(8, 200, 200), 1.5)


def test_a_cached_kernel_depends_on_all_files_of_the_package():
    """Numba looks at the file of the kernel alone."""
    names = {name for name, _, _ in jit_options._SOURCES}
    assert {"simd.py", "sources.py", "forward.py", "backward.py"} <= names
    code = (
        "from mdn_cupy.cpu import forward, jit_options;"
        "print(forward.fill._cache._cache_file._source_stamp == jit_options._SOURCES)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "True"
