"""Votes on Dask arrays against the whole: maps and gradients, any chunks and any offsets."""

import inspect

import cloudpickle
import dask
import dask.array as da
import dask.optimization
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import mdn_cupy as mdn
from mdn_cupy.dask.lazy import lazily

CLOSE = {"rtol": 1e-6, "atol": 1e-6}


@st.composite
def problems(draw):
    """Fields, options and chunks; offsets may cross any number of chunks or leave the map."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    parts, height, width = draw(
        st.tuples(st.integers(1, 3), st.integers(1, 40), st.integers(1, 40))
    )
    length = draw(st.sampled_from([0.0, 1.0, 8.0, 60.0]))
    dtype = draw(st.sampled_from([np.float16, np.float32, np.float64]))
    c = rng.random((parts, height, width)) * (rng.random((parts, height, width)) < 0.6)
    o = rng.normal(0, length, (parts, 2, height, width))
    o[rng.random(o.shape) < 0.02] = np.nan
    o[rng.random(o.shape) < 0.01] = 6e4
    strides = st.sampled_from([0.5, 1.0, 2.5])
    options = {
        "stride": (draw(strides), draw(strides)),
        "origin": (draw(st.integers(-3, 3)) / 2, draw(st.integers(-3, 3)) / 2),
        "truncate": draw(st.sampled_from([1.5, 4.0])),
        "aggregate": draw(st.sampled_from([None, 0])),
        "output_shape": draw(st.sampled_from([None, (33, 47)])),
    }
    sigmas = {
        "number": 1.3,
        "parts": rng.random((parts, 1, 1)).astype(np.float32) + 0.5,
        "sources": rng.random((height, width)).astype(np.float32) * 2 - 0.1,
    }
    sigma = sigmas[draw(st.sampled_from(sorted(sigmas)))]
    sizes = [draw(st.integers(1, n)) for n in (parts, height, width)]
    out = draw(st.sampled_from([None, 7, (5, 30)]))
    return c.astype(dtype), o.astype(dtype), sigma, options, sizes, out


def chunked(c, o, sizes, is_stored=False):
    """The fields as Dask arrays, computed or read as from a store."""
    parts, down, across = sizes
    chunks = {"c": (parts, down, across), "o": (parts, 2, down, across)}
    if not is_stored:
        return [da.from_array(x, chunks=chunks[name]) for name, x in (("c", c), ("o", o))]
    return [
        lazily(x.__getitem__, x.shape, chunks[name], x[:0], {name: dask.base.tokenize(x)})
        for name, x in (("c", c), ("o", o))
    ]


@pytest.mark.filterwarnings("ignore::mdn_cupy.dask.OutlierWarning")
@settings(max_examples=25)
@given(problems(), st.booleans())
def test_maps_equal_those_of_the_whole(problem, is_stored):
    c, o, sigma, options, sizes, out = problem
    whole = mdn.Votes(c, o, sigma, **options)
    lazy = chunked(c, o, sizes, is_stored)
    m, log_complement, s = mdn.dask.compare(*lazy, sigma, chunks=out, **options)
    plain = mdn.dask.plain_sum(*lazy, sigma, chunks=out, **options)
    with dask.config.set(scheduler="synchronous"):
        for lazy, wanted in zip(
            (m, log_complement, s, plain), (*whole.compare(), whole.plain_sum()), strict=True
        ):
            found = lazy.compute()
            assert found.dtype == lazy.dtype == wanted.dtype
            assert found.shape == lazy.shape == wanted.shape
            np.testing.assert_allclose(found, wanted, **CLOSE)


@pytest.mark.filterwarnings("ignore::mdn_cupy.dask.OutlierWarning")
@settings(max_examples=15)
@given(problems(), st.sampled_from(["noisy_or", "log_complement", "additive", "plain_sum"]))
def test_gradients_equal_those_of_the_whole(problem, name):
    c, o, sigma, options, sizes, _ = problem
    c = np.minimum(c, 0.9)  # 1/(1 − c) is steep near 1
    whole = mdn.Votes(c, o, sigma, **options)
    rng = np.random.default_rng(0)
    g = rng.standard_normal(whole.shape).astype(whole.dtype)
    leading = (sizes[0],) * (len(whole.shape) - 2)
    cotangent = da.from_array(g, chunks=(*leading, 9, 14))
    pull = getattr(mdn.dask, f"{name}_vjp")
    with dask.config.set(scheduler="synchronous"):
        found = dask.compute(*pull(*chunked(c, o, sizes), sigma, cotangent, **options))
    for gradient, wanted in zip(found, getattr(whole, f"{name}_vjp")(g), strict=True):
        assert gradient.shape == wanted.shape
        scale = max(1.0, float(np.abs(wanted).max(initial=0)))
        np.testing.assert_allclose(gradient / scale, wanted / scale, **CLOSE)


def field(size=64, chunk=16, offset=0.0):
    c = np.zeros((size, size), np.float32)
    o = np.zeros((2, size, size), np.float32)
    c[::8, ::8] = 0.5
    o[:] = offset
    return c, o, da.from_array(c, chunks=chunk), da.from_array(o, chunks=(2, chunk, chunk))


def needed(array, of):
    """The chunks of another array that each chunk of an array depends on."""
    graph = dict(array.__dask_graph__())
    found = {}
    for key in dask.core.flatten(array.__dask_keys__()):
        culled, _ = dask.optimization.cull(graph, [key])
        found[key[1:]] = sorted(k[1:] for k in culled if k[0] == of.name)
    return found


def test_a_chunk_depends_on_the_chunks_that_land_in_it_and_no_others():
    c, o, lazy_c, lazy_o = field()
    o[0, :, 16:32] = 32  # the second column of chunks votes for the fourth
    lazy_o = da.from_array(o, chunks=(2, 16, 16))
    m = mdn.dask.noisy_or(lazy_c, lazy_o, 0.5, truncate=1.0)  # windows of half a pixel
    depends = needed(m, lazy_c)
    assert depends[2, 1] == []
    assert depends[2, 0] == [(2, 0)]
    assert depends[2, 3] == [(2, 1), (2, 3)]
    np.testing.assert_allclose(m.compute(), mdn.noisy_or(c, o, 0.5, truncate=1.0), atol=1e-6)


def test_one_mad_offset_ties_one_chunk_to_one_other_and_is_named():
    c, o, lazy_c, _ = field(256, 64)
    c[5, 7], o[:, 5, 7] = 0.9, (200, 220)
    lazy_c, lazy_o = da.from_array(c, chunks=64), da.from_array(o, chunks=(2, 64, 64))
    with pytest.warns(
        mdn.dask.OutlierWarning, match=r"^1 of .* row 5 and column 7, lands at row 225 and column 2"
    ) as warned:
        reach = mdn.dask.measure_reach(lazy_c, lazy_o, 1.0)
    assert warned[0].filename == __file__
    assert reach.outliers == 1
    targets = {link.target for link in reach.links[0, 0]}
    assert targets == {(0, 0), (0, 1), (1, 0), (1, 1), (3, 3)} - {
        t for t in ((0, 1), (1, 0), (1, 1)) if t not in targets
    }
    (far,) = (link for link in reach.links[0, 0] if link.rows.block == 3)
    assert far.sources == (slice(5, 6), slice(7, 8))
    m = mdn.dask.noisy_or(lazy_c, lazy_o, 1.0, reach=reach)
    np.testing.assert_allclose(m.compute(), mdn.noisy_or(c, o, 1.0), atol=1e-6)


@pytest.mark.parametrize("name", ["noisy_or", "noisy_or_vjp", "peaks", "measure_reach"])
def test_the_warning_of_mad_offsets_is_of_the_line_that_calls(name):
    c, o, _, _ = field(128, 32)
    o[:, 8, 16] = 100
    lazy_c, lazy_o = da.from_array(c, chunks=32), da.from_array(o, chunks=(2, 32, 32))
    more = {"noisy_or_vjp": {"cotangent": lazy_c}, "peaks": {"threshold": 1}}.get(name, {})
    with pytest.warns(mdn.dask.OutlierWarning) as warned:
        getattr(mdn.dask, name)(lazy_c, lazy_o, 1.0, **more)
    assert [each.filename for each in warned] == [__file__]


def test_names_are_the_same_every_time_and_tasks_one_a_chunk():
    _, _, c, o = field()
    first, second = (mdn.dask.noisy_or(c, o, 2.0) for _ in range(2))
    assert first.name == second.name
    assert first.name != mdn.dask.noisy_or(c, o, 2.5).name
    assert first.name != mdn.dask.noisy_or(c, o, 2.0, reach=3).name
    assert len(first.__dask_graph__().layers[first.name]) == first.npartitions


def zeros(index):
    """A part of a stored array."""
    return np.zeros([part.stop - part.start for part in index], np.float32)


@pytest.mark.parametrize("of_dask", [True, False])
def test_a_task_holds_no_other_chunk_of_sigma(of_dask):
    _, _, c, o = field(256, 32)
    sigma = np.full((256, 256), 2.0, np.float32)
    sigma = da.from_array(sigma, chunks=32) if of_dask else sigma
    stored = [lazily(zeros, x.shape, x.chunksize, x._meta, {"n": x.ndim}) for x in (c, o)]
    peaks = mdn.find_peaks(np.eye(9, dtype=np.float32), threshold=0.1)
    for array in (
        mdn.dask.noisy_or(c, o, sigma),
        mdn.dask.noisy_or(*stored, sigma),
        mdn.dask.additive_vjp(c, o, sigma, c).confidence,
        mdn.dask.instances(c, o, sigma, peaks).labels,
    ):
        layers = array.__dask_graph__().layers
        tasks = [task for name in layers if "mdn-" in name for task in layers[name].values()]
        # A chunk of sigma takes 4,096 bytes; all of them take 262,144.
        assert 0 < max(len(cloudpickle.dumps(task)) for task in tasks) < 20_000


def test_nothing_is_read_where_a_reach_is_promised_until_it_is_computed():
    read = []

    def block(block_id):
        read.append(block_id)
        return np.full((8, 8), 0.5, np.float32)

    c = da.map_blocks(block, chunks=((8, 8), (8, 8)), dtype=np.float32, meta=np.empty((0, 0), "f4"))
    o = da.zeros((2, 16, 16), chunks=(2, 8, 8), dtype=np.float32)
    m = mdn.dask.noisy_or(c, o, 1.0, reach=0)
    assert read == []
    m.compute()
    assert sorted(read) == [(0, 0), (0, 1), (1, 0), (1, 1)]


def test_a_vote_beyond_the_promise_is_an_error_even_where_it_reaches_nothing():
    c, o, lazy_c, _ = field()
    c[20, 30], o[0, 20, 30] = 0.5, -9
    o[1, 56, 56] = 1000  # leaves the map
    lazy_c, lazy_o = da.from_array(c, chunks=16), da.from_array(o, chunks=(2, 16, 16))
    m = mdn.dask.noisy_or(lazy_c, lazy_o, 1.0, reach=8)
    with pytest.raises(
        ValueError, match=r"1 votes? .* row 16 and column 16 .* row 20 and column 30"
    ):
        m[16:32, 16:32].compute()
    with pytest.raises(ValueError, match="row 56 and column 56"):
        m[48:, 48:].compute()
    np.testing.assert_allclose(
        mdn.dask.noisy_or(lazy_c, lazy_o, 1.0, reach=1000).compute(),
        mdn.noisy_or(c, o, 1.0),
        atol=1e-6,
    )


def test_a_promise_is_kept_where_no_chunk_of_the_map_is_near():
    """Sources far outside the map, whose chunk votes for nothing, are checked all the same."""
    c = da.full((8, 8), 0.5, chunks=8, dtype="float32")
    o = da.full((2, 8, 8), -100.0, chunks=8, dtype="float32")
    m = mdn.dask.noisy_or(c, o, 1.0, reach=5, origin=100, output_shape=(10, 10))
    with pytest.raises(ValueError, match="64 votes"):
        m.compute()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"offsets": da.zeros((2, 64, 64), chunks=(1, 16, 16))}, "x and y in one chunk"),
        ({"offsets": da.zeros((2, 64, 64), chunks=(2, 32, 16))}, r"give offsets\.rechunk"),
        ({"confidence": np.zeros((64, 64), "f4")}, "must be a Dask array, got ndarray"),
        ({"offsets": da.zeros((64, 64, 2), chunks=(16, 16, 2))}, r"offsets must have the shape"),
        ({"reach": -1}, "reach must be finite and not negative"),
        ({"reach": "far"}, "reach must be a number of pixels or a Reach, got"),
        ({"reach": 10**400}, "reach must be finite and not negative, got inf"),
        ({"sigma": da.ones(9)[da.ones(9) > 0]}, r"sigma has chunks of unknown size; call its co"),
        ({"sigma": torch.ones(64, 64)}, r"or of the chunks' library, got torch.Tensor; pass mdn_c"),
        ({"sigma": 0}, "sigma must be greater than 0"),
        ({"sigma": "wide"}, "sigma must be a number or an array"),
        ({"chunks": "big"}, "chunks must be numbers of at least 1"),
        ({"chunks": (4, 4, 4)}, "takes for 2 axes"),
        ({"chunks": ((4, 4), 64)}, "Chunks do not add up"),
        ({"truncte": 3}, "unexpected argument 'truncte', did you mean 'truncate'"),
        ({"sigma": da.ones((64, 64), chunks=8)}, "sigma must have the chunks of confidence"),
    ],
)
def test_what_does_not_fit_is_refused_when_it_is_given(change, message):
    _, _, c, o = field()
    given = {"confidence": c, "offsets": o, "sigma": 2.0, "reach": 1.0, **change}
    with pytest.raises((TypeError, ValueError), match=message):
        mdn.dask.noisy_or(**given)


VOTING = ["noisy_or", "log_complement", "additive", "plain_sum", "compare", "measure_reach"]
PULLING = [f"{name}_vjp" for name in VOTING[:4]]


@pytest.mark.parametrize("name", [*VOTING, *PULLING, "peaks", "instances"])
def test_every_option_has_its_name_in_help_and_in_errors(name):
    _, _, c, o = field()
    function = getattr(mdn.dask, name)
    shown = [*inspect.signature(function).parameters]
    assert [*mdn.VoteKwargs.__annotations__] == shown[-6:]
    assert ("reach" in shown) == (name not in ("measure_reach", "instances"))
    assert ("chunks" in shown) == (name in (*VOTING, "peaks"))
    more = {
        "peaks": {"threshold": 1},
        "instances": {"peaks": mdn.find_peaks(np.eye(3), threshold=1)},
    }
    given = more.get(name, {"cotangent": c} if name in PULLING else {})
    for wrong in ("truncte", "maps"):
        with pytest.raises(
            TypeError, match=rf"^{name}\(\): unexpected argument '{wrong}'.* takes"
        ) as error:
            function(c, o, 2.0, **given, **{wrong: 3})
        assert str(error.value).endswith(", ".join(shown))


def test_arrays_of_the_other_byte_order_are_those_of_this_machines():
    rng = np.random.default_rng(0)
    c, o = rng.random((40, 50)), rng.normal(0, 4, (2, 40, 50))
    sigma = rng.uniform(1, 3, (40, 50))
    native = [da.from_array(x, chunks=20) for x in (c, sigma)]
    native.insert(1, da.from_array(o, chunks=(2, 20, 20)))
    for dtype in (">f2", ">f4", ">f8"):
        other = [x.astype(dtype) for x in native]
        same = [x.astype(x.dtype.newbyteorder("=")) for x in other]
        for width in (1, other[2], other[2].compute()):
            expected = same[2] if np.ndim(width) else 1
            m = mdn.dask.noisy_or(*same[:2], expected)
            np.testing.assert_array_equal(mdn.dask.noisy_or(*other[:2], width), m)
        dm = m.astype(m.dtype.newbyteorder(">"))
        for one, wanted in zip(
            mdn.dask.noisy_or_vjp(*other, dm), mdn.dask.noisy_or_vjp(*same, m), strict=True
        ):
            np.testing.assert_array_equal(one, wanted)
        found = mdn.dask.find_peaks(dm, score=dm, threshold=0.5).compute()
        wanted = mdn.dask.find_peaks(m, score=m, threshold=0.5).compute()
        assert found.to_dict() == wanted.to_dict()


def test_a_cotangent_or_a_map_that_is_no_dask_array_is_refused():
    _, _, c, o = field()
    with pytest.raises(TypeError, match="cotangent must be a Dask array, got ndarray"):
        mdn.dask.noisy_or_vjp(c, o, 2.0, np.zeros((64, 64)))
    with pytest.raises(TypeError, match="log_complement must be a Dask array, got ndarray"):
        mdn.dask.noisy_or_vjp(c, o, 2.0, c, log_complement=np.zeros((64, 64)), reach=1)


def test_a_reach_of_other_fields_or_without_gradients_is_refused():
    _, _, c, o = field()
    reach = mdn.dask.measure_reach(c, o, 2.0)
    with pytest.raises(ValueError, match="other fields, options or chunks"):
        mdn.dask.noisy_or(c, o, 3.0, reach=reach)
    with pytest.raises(ValueError, match="gradients=True"):
        mdn.dask.noisy_or_vjp(c, o, 2.0, c, reach=reach)
    complete = mdn.dask.measure_reach(c, o, 2.0, gradients=True)
    assert mdn.dask.noisy_or_vjp(c, o, 2.0, c, reach=complete).confidence.shape == c.shape
