"""Detection of array libraries, import by DLPack, and the way back to NumPy."""

import tempfile

import dask.array
import numpy as np
import pandas
import pytest
import scipy.sparse
import torch
from helpers import assert_gradients_close

import mdn_cupy as mdn
from mdn_cupy import arrays, cuda
from mdn_cupy.backend import Status

C = np.random.default_rng(0).random((3, 4, 5)).astype(np.float32)
O = np.random.default_rng(1).normal(size=(3, 2, 4, 5)).astype(np.float32)  # noqa: E741
S = np.full((3, 1, 1), 1.5, np.float32)


class Exporter:
    """An array of a library that only knows DLPack; `device` overrides where it says it lives."""

    def __init__(self, array, device=None):
        self._array = array
        self._device = device

    def __dlpack__(self, **options):
        return self._array.__dlpack__(**options)

    def __dlpack_device__(self):
        return self._device or self._array.__dlpack_device__()


@pytest.mark.parametrize("which", range(3))
def test_another_libraries_arrays_come_back_as_numpy(which):
    fields = [Exporter(x) if n == which else x for n, x in enumerate((C, O, S))]
    for function in (mdn.noisy_or, mdn.additive):
        got = function(*fields)
        assert type(got) is np.ndarray
        np.testing.assert_array_equal(got, function(C, O, S))


@pytest.mark.parametrize("which", range(4))
def test_another_libraries_arrays_are_differentiated(which):
    g = np.cos(C)
    exported, *fields = (Exporter(x) if n == which else x for n, x in enumerate((g, C, O, S)))
    for vjp in (mdn.Votes.noisy_or_vjp, mdn.Votes.additive_vjp):
        assert_gradients_close(vjp(mdn.Votes(*fields), exported), vjp(mdn.Votes(C, O, S), g), 0.0)


def test_another_libraries_arrays_are_checked():
    mdn.check_fields(Exporter(C), Exporter(O), Exporter(S))
    with pytest.raises(ValueError, match="confidence: 60 of 60"):
        mdn.check_fields(Exporter(C + 2), Exporter(O), Exporter(S))


def test_another_libraries_arrays_are_not_copied():
    _, adopted = arrays.adopt(confidence=Exporter(C))
    assert np.shares_memory(adopted["confidence"], C)


@pytest.mark.parametrize("device_type", [4, 8, 10, 14])  # OpenCL, Metal, ROCm, oneAPI
def test_a_device_that_nobody_serves_is_named(device_type):
    elsewhere = Exporter(C, (device_type, 0))
    with pytest.raises(
        TypeError, match=f"confidence lives on a device of DLPack type {device_type}"
    ):
        mdn.noisy_or(elsewhere, O, S)


def test_read_only_arrays_are_read():
    frozen = C.copy()
    frozen.flags.writeable = False
    np.testing.assert_array_equal(mdn.noisy_or(frozen, O, S), mdn.noisy_or(C, O, S))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_callers_kind_of_array_comes_back(dtype):
    for array, kind in ((np.asarray, np.ndarray), (torch.tensor, torch.Tensor)):
        fields = [array(x.astype(dtype)) for x in (C, O, S)]
        votes = mdn.Votes(*fields)
        found = (*votes.compare(), *votes.noisy_or_vjp(votes.noisy_or()))
        assert {type(x) for x in found} == {kind}
        assert {arrays.dtype_name(x) for x in found} == {dtype}


def test_libraries_are_told_apart():
    seen = [arrays.library(x) for x in (C, torch.ones(1), Exporter(C), [1.0], 1.0, None)]
    assert seen == ["numpy", "torch", "dlpack", None, None, None]


@pytest.mark.parametrize("name", ["confidence", "offsets", "sigma", "cotangent", "log_complement"])
def test_masks_are_not_passed_over(name):
    given = {"confidence": C, "offsets": O, "sigma": S, "cotangent": C, "log_complement": C}
    given[name] = np.ma.masked_array(given[name])
    fields, maps = [*given.values()][:3], [*given.values()][3:]
    calls = [lambda: mdn.Votes(*fields).noisy_or_vjp(maps[0], log_complement=maps[1])]
    if name in ("confidence", "offsets", "sigma"):
        calls.append(lambda: mdn.check_fields(*fields))
    if name != "log_complement":  # the specification looks at no masks either
        calls += [lambda: mdn.reference.noisy_or_vjp(maps[0], *fields)]
        calls += [lambda: mdn.reference.additive_vjp(maps[0], *fields)]
    for call in calls:
        with pytest.raises(TypeError, match=f"{name} is a masked array"):
            call()


class Units(np.ndarray):
    """As astropy's quantities: products have another unit, which the next sum refuses."""

    def __array_ufunc__(self, ufunc, *_, **__):
        raise TypeError(f"{ufunc.__name__}: the units do not agree")


SQUARE = C[0, :4, :4]
FLOW = O[0, :, :4, :4]


def as_memmap(array):
    with tempfile.TemporaryFile() as file:
        mapped = np.memmap(file, array.dtype, "w+", shape=array.shape)
    mapped[...] = array
    return mapped


KINDS = {
    "matrix": lambda a: a.view(np.matrix) if a.ndim == 2 else a,
    "units": lambda a: a.view(Units),
    "recarray": lambda a: a.view(np.recarray),
    "memmap": as_memmap,
    "big-endian": lambda a: a.astype(a.dtype.newbyteorder(">")),
    "little-endian": lambda a: a.astype(a.dtype.newbyteorder("<")),
}


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_arrays_of_every_subclass_are_plain_ones(kind, dtype):
    c, o = SQUARE.astype(dtype), FLOW.astype(dtype)
    s, g = np.full((4, 4), 1.5, dtype), np.cos(c)
    given, votes = mdn.Votes(*map(kind, (c, o, s))), mdn.Votes(c, o, s)
    assert_same(given.noisy_or(), votes.noisy_or())
    logc = votes.log_complement()
    pairs = [
        (given.compare(), votes.compare()),
        (
            given.noisy_or_vjp(kind(g), log_complement=kind(logc)),
            votes.noisy_or_vjp(g, log_complement=logc),
        ),
        (given.additive_vjp(kind(g)), votes.additive_vjp(g)),
        (
            mdn.reference.noisy_or_vjp(*map(kind, (g, c, o, s))),
            mdn.reference.noisy_or_vjp(g, c, o, s),
        ),
    ]
    for got, want in pairs:
        for one, other in zip(got, want, strict=True):
            assert_same(one, other)
    mdn.check_fields(*map(kind, (c, o, s)))
    assert_same(mdn.to_numpy(kind(c)), c)


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_votes_of_every_subclass_are_told_apart(kind):
    given = mdn.Votes(kind(SQUARE), kind(FLOW), kind(np.full((4, 4), 1.5)))
    votes = mdn.Votes(SQUARE, FLOW, 1.5)
    assert given.voters((1, 2)).evidence == votes.voters((1, 2)).evidence
    evidence = votes.evidence()
    vote = given.footprint((1, 2))
    assert_same(vote.share(kind(evidence)), vote.share(evidence))


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_field_sets_hold_plain_arrays(kind):
    image = np.eye(4, dtype=">u2")
    fields = mdn.Fields(kind(C), kind(O), kind(O[None]), kind(image))
    assert_same(fields.confidence, C)
    assert_same(fields.offsets, O)
    assert_same(fields.cross_offsets, O[None])
    assert_same(fields.image, image.astype(np.uint16))


def assert_same(got, want):
    assert type(got) is np.ndarray
    assert got.dtype == want.dtype
    assert got.dtype.isnative
    np.testing.assert_array_equal(got, want)


def test_the_residual_of_a_sparse_target_is_pulled_back():
    target = scipy.sparse.coo_matrix(([1.0], ([2], [3])), shape=(4, 4))
    residual = SQUARE - target
    assert type(residual) is np.matrix
    got = mdn.Votes(SQUARE, FLOW, 1.5).noisy_or_vjp(residual)
    want = mdn.reference.noisy_or_vjp(np.asarray(residual), SQUARE, FLOW, 1.5)
    assert_gradients_close(got, want, 1e-4)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (dask.array.zeros((3, 4, 5)), r"got dask\.array\.core\.Array; pass {}\.compute\(\)"),
        (scipy.sparse.eye_array(4, format="csr"), r"got scipy\.sparse.*; pass {}\.toarray\(\)"),
        (pandas.DataFrame(C[0]), r"got pandas\..*DataFrame; pass {}\.to_numpy\(\)"),
        ([1.0], r"got list; pass numpy\.asarray\({}, 'float32'\)"),
        ("wide", "got str$"),
        (None, "got NoneType$"),
    ],
    ids=["dask", "sparse", "pandas", "list", "text", "none"],
)
@pytest.mark.parametrize("name", ["confidence", "offsets", "sigma"])
def test_what_is_no_array_is_named_with_a_way_out(name, given, message):
    fields = {"confidence": C, "offsets": O, "sigma": S, name: given}
    wanted = f"{name} must be {'a number or ' if name == 'sigma' else ''}an array .*, "
    for call in (mdn.Votes, mdn.check_fields):
        with pytest.raises(TypeError, match=wanted + message.format(name)):
            call(**fields)
    if name != "sigma" and given is not None:
        with pytest.raises(TypeError, match=message.format(name)):
            mdn.Fields(**{k: v for k, v in fields.items() if k != "sigma"})


def test_a_tensor_in_a_field_set_is_told_how_to_become_an_array():
    with pytest.raises(TypeError, match=r"got torch\.Tensor; pass mdn_cupy\.to_numpy\(image\)"):
        mdn.Fields(C, O, image=torch.zeros(3, 3))


def test_a_dtype_that_numpy_does_not_know_is_named():
    exported = Exporter(torch.zeros(4, 5, dtype=torch.bfloat16))
    with pytest.raises(TypeError, match=r"confidence, a .*Exporter, cannot be read .*; pass numpy"):
        mdn.noisy_or(exported, O[0], 1.0)


def test_everything_can_be_brought_to_the_cpu():
    for given in (C, torch.tensor(C, requires_grad=True), Exporter(C)):
        got = mdn.to_numpy(given)
        assert type(got) is np.ndarray
        np.testing.assert_array_equal(got, C)


def test_without_a_gpu_nothing_is_copied_there(monkeypatch):
    monkeypatch.setattr(cuda, "status", lambda: Status(False, "no NVIDIA driver is loaded"))
    for array in (C, Exporter(C)):
        with pytest.raises(RuntimeError, match=r"no GPU .* no NVIDIA driver .* vote on the CPU"):
            mdn.to_gpu(array)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (torch.ones(3), r"torch tensor, .* tensor.cuda\(\)"),
        (np.ma.masked_array(C), "masked array"),
        ([1.0], "must be an array .*, got list"),
    ],
    ids=["torch", "masked", "list"],
)
def test_what_is_not_copied_to_a_gpu(given, message):
    with pytest.raises(TypeError, match=message):
        mdn.to_gpu(given)
