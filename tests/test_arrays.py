"""Whose array is it: what comes in by DLPack, and what goes back."""

import numpy as np
import pytest
import torch
from helpers import assert_gradients_close

import mdn_cupy as mdn
from mdn_cupy import arrays, cuda
from mdn_cupy.backends import Status

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
    arguments = [Exporter(x) if n == which else x for n, x in enumerate((g, C, O, S))]
    for vjp in (mdn.noisy_or_vjp, mdn.additive_vjp):
        assert_gradients_close(vjp(*arguments), vjp(g, C, O, S), 0.0)


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
        m, log_complement = mdn.noisy_or(*fields, return_log_complement=True)
        found = (m, log_complement, mdn.additive(*fields), *mdn.noisy_or_vjp(m, *fields))
        assert {type(x) for x in found} == {kind}
        assert {arrays.dtype_name(x) for x in found} == {dtype}


def test_libraries_are_told_apart():
    seen = [arrays.library(x) for x in (C, torch.ones(1), Exporter(C), [1.0], 1.0, None)]
    assert seen == ["numpy", "torch", "dlpack", None, None, None]


@pytest.mark.parametrize("name", ["confidence", "offsets", "sigma"])
def test_masks_are_not_passed_over(name):
    fields = {
        "confidence": np.full((3, 4), 0.5),
        "offsets": np.zeros((2, 3, 4)),
        "sigma": np.full((3, 4), 1.0),
    }
    fields[name] = np.ma.masked_array(fields[name])
    for function in (mdn.noisy_or, mdn.check_fields):
        with pytest.raises(TypeError, match=f"{name} is a masked array"):
            function(**fields)


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
