"""Peaks and instances over chunks against those of the whole."""

import dask
import dask.array as da
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import mdn_cupy as mdn
from mdn_cupy.dask.lazy import lazily

AXES = st.sampled_from([None, 0])


def check_same(found, wanted):
    """Compare exactly, but places to 1e-13: NumPy's log has other last bits in longer arrays."""
    assert found.maps_shape == wanted.maps_shape
    for name in ("map", "score", "evidence"):
        np.testing.assert_array_equal(getattr(found, name), getattr(wanted, name), err_msg=name)
    for name in ("x", "y"):
        np.testing.assert_allclose(
            getattr(found, name), getattr(wanted, name), rtol=0, atol=1e-13, err_msg=name
        )


@pytest.mark.parametrize("shape", [(0, 12), (12, 0), (0, 0), (3, 0, 12), (0, 3, 4)])
def test_maps_without_a_pixel_have_no_peaks(shape):
    c = da.zeros(shape, chunks=4, dtype=np.float32)
    o = da.zeros((*shape[:-2], 2, *shape[-2:]), chunks=4, dtype=np.float32)
    m = mdn.dask.noisy_or(c, o, 2.0)
    np.testing.assert_array_equal(m.compute(), mdn.noisy_or(c.compute(), o.compute(), 2.0))
    check_same(
        mdn.dask.find_peaks(m, threshold=0.1).compute(),
        mdn.find_peaks(m.compute(), threshold=0.1),
    )
    assert len(mdn.dask.peaks(c, o, 2.0, threshold=0.1).compute()) == 0


@st.composite
def maps(draw):
    """Maps with plateaus that cross chunks: few values, and blobs of one."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    shape = draw(st.tuples(st.integers(1, 3), st.integers(1, 24), st.integers(1, 24)))
    values = draw(st.sampled_from([2, 4, 1000]))
    evidence = rng.integers(0, values, shape).astype(np.float32)
    size = draw(st.sampled_from([1, 4]))
    if size > 1:
        evidence = np.kron(evidence, np.ones((size, size), np.float32))[:, :30, :30]
    if draw(st.booleans()):
        evidence[rng.random(evidence.shape) < 0.05] = np.nan
    chunks = [draw(st.integers(1, n)) for n in evidence.shape]
    return evidence, chunks


@settings(max_examples=30)
@given(
    maps(),
    st.sampled_from([-1.0, 0.5, 2.0]),
    st.sampled_from([1.0, 3.5, 9.0]),
    st.sampled_from([None, 2]),
    st.integers(0, 2),
)
def test_peaks_are_those_of_the_whole(problem, threshold, min_distance, max_peaks, border):
    evidence, chunks = problem
    rng = np.random.default_rng(0)
    score = rng.random(evidence.shape).astype(np.float32)
    limits = {
        "threshold": threshold,
        "min_distance": min_distance,
        "max_peaks": max_peaks,
        "border": border,
    }
    lazy, scores = (da.from_array(x, chunks=chunks) for x in (evidence, score))
    found = mdn.dask.find_peaks(lazy, score=scores, **limits)
    with dask.config.set(scheduler="synchronous"):
        check_same(found.compute(), mdn.find_peaks(evidence, score=score, **limits))


def test_places_are_rounded_once_whatever_the_chunks():
    """An offset within a chunk has more digits than one within the map, which are all rounded."""
    rng = np.random.default_rng(0)
    evidence = rng.random((40, 1000))
    wanted = mdn.find_peaks(evidence, threshold=0.5)
    found = mdn.dask.find_peaks(da.from_array(evidence, chunks=(7, 90)), threshold=0.5).compute()
    assert len(wanted) > 1000
    np.testing.assert_array_equal(found.x, wanted.x)
    np.testing.assert_array_equal(found.y, wanted.y)


def test_peaks_on_borders_and_corners_have_one_owner():
    rng = np.random.default_rng(3)
    c = np.zeros((48, 48), np.float32)
    o = np.zeros((2, 48, 48), np.float32)
    for y, x in ((15, 15), (16, 31), (31.5, 16), (31.5, 31.5)):
        at = tuple(rng.integers(0, 48, (2, 20)))
        c[at] = 0.7
        o[0][at], o[1][at] = x - at[1], y - at[0]
    lazy = da.from_array(c, chunks=16), da.from_array(o, chunks=(2, 16, 16))
    evidence = -mdn.dask.log_complement(*lazy, 1.5)
    peaks = mdn.dask.find_peaks(evidence, threshold=2.0, min_distance=2)
    whole = mdn.Votes(c, o, 1.5)
    wanted = whole.peaks(threshold=2.0, min_distance=2)
    found = peaks.compute()
    assert len(found) == len(wanted) == 4
    order = np.lexsort((found.x, found.y)), np.lexsort((wanted.x, wanted.y))
    for name in ("x", "y"):
        left, right = (getattr(t, name)[k] for t, k in zip((found, wanted), order, strict=True))
        np.testing.assert_allclose(left, right, atol=1e-4)
    labels, mass = mdn.dask.instances(*lazy, 1.5, peaks, radius=3)
    expected, weights = whole.instances(found, radius=3)
    np.testing.assert_array_equal(labels.compute(), expected)
    np.testing.assert_allclose(mass.compute(), weights)


@settings(max_examples=15)
@given(st.data())
def test_instances_are_those_of_the_whole(data):
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    parts, height, width = (data.draw(st.integers(1, n)) for n in (3, 30, 30))
    c = rng.random((parts, height, width)).astype(np.float32)
    o = rng.normal(0, 6, (parts, 2, height, width)).astype(np.float32)
    options = {
        "stride": (1.0, 2.0),
        "origin": (0.5, -1),
        "aggregate": data.draw(st.sampled_from([None, 0])),
    }
    chunks = [data.draw(st.integers(1, n)) for n in c.shape]
    whole = mdn.Votes(c, o, 1.5, **options)
    peaks = whole.peaks(threshold=0.5)
    radius = data.draw(st.sampled_from([2.0, float("inf")]))
    lazy = da.from_array(c, chunks=chunks), da.from_array(o, chunks=(chunks[0], 2, *chunks[1:]))
    labels, mass = mdn.dask.instances(*lazy, 1.5, peaks, radius=radius, **options)
    expected, weights = whole.instances(peaks, radius=radius)
    with dask.config.set(scheduler="synchronous"):
        assert mass.shape == (len(peaks),)
        np.testing.assert_array_equal(labels.compute(), expected)
        np.testing.assert_allclose(mass.compute(), weights)


def test_what_does_not_fit_is_refused():
    evidence = da.zeros((8, 8), chunks=4)
    with pytest.raises(TypeError, match="evidence must be a Dask array, got ndarray"):
        mdn.dask.find_peaks(np.zeros((8, 8)), threshold=1)
    with pytest.raises(ValueError, match="score must have the shape and chunks"):
        mdn.dask.find_peaks(evidence, threshold=1, score=da.zeros((8, 8), chunks=8))
    offsets = da.zeros((2, 8, 8), chunks=(2, 4, 4))
    with pytest.raises(ValueError, match=r"evidence must have the shape of the vote map \(8, 8\)"):
        mdn.dask.peaks(evidence, offsets, 2.0, threshold=1, reach=1, evidence=evidence[:4])
    with pytest.raises(ValueError, match="border must be at least 0"):
        mdn.dask.find_peaks(evidence, threshold=1, border=-1)
    peaks = mdn.find_peaks(np.zeros((3, 8, 8)), threshold=1)
    labels, _ = mdn.dask.instances(evidence, offsets, 1.0, peaks)
    with pytest.raises(ValueError, match=r"peaks must be of maps with the leading axes \(\)"):
        labels.compute()


@pytest.mark.parametrize("is_stored", [True, False])
@pytest.mark.parametrize("origin", [0, 100])  # with 100 no chunk of sources is near the map
def test_a_promise_is_checked_where_the_evidence_is_given(is_stored, origin):
    c, o = np.zeros((20, 40), np.float32), np.zeros((2, 20, 40), np.float32)
    c[5, 35] = c[5, 5] = 0.9
    o[0, 5, 5] = 30  # both vote for one pixel
    evidence = da.from_array(-mdn.log_complement(c, o, 2.0), chunks=10)
    lazy = [
        lazily(x.__getitem__, x.shape, (*x.shape[:-2], 10, 10), x[:0], {"axes": x.ndim})
        if is_stored
        else da.from_array(x, chunks=(*x.shape[:-2], 10, 10))
        for x in (c, o)
    ]
    given = {"threshold": 0.5, "evidence": evidence, "origin": origin, "chunks": 10}
    peaks = mdn.dask.peaks(*lazy, 2.0, reach=1, **given)
    with pytest.raises(ValueError, match="longest, by 30 pixels, is of the source in row 5 and c"):
        peaks.compute()
    kept = mdn.dask.peaks(*lazy, 2.0, reach=30, **given).compute()
    np.testing.assert_allclose(kept.voters, [0.0 if origin else 2.0], atol=1e-6)


def test_a_promise_that_the_evidence_has_kept_is_not_checked_again(tmp_path):
    seen = []

    def field(array, chunks):
        def read(index):
            seen.append(index)
            return array[index]

        return lazily(read, array.shape, chunks, array[:0], {"axes": array.ndim})

    fields = field(np.zeros((20, 40)), (10, 10)), field(np.zeros((2, 20, 40)), (2, 10, 10))
    for promised, reads in ((4, 0), (5, 16)):
        store = tmp_path / f"{promised}.zarr"
        mdn.dask.to_zarr(mdn.dask.log_complement(*fields, 1.0, reach=promised), store)
        evidence = 0 - mdn.dask.stored(store)
        seen.clear()
        mdn.dask.peaks(*fields, 1.0, threshold=0.5, reach=4, evidence=evidence).compute()
        assert len(seen) == reads
