"""Training on the imagined device; `python -m` this module, which prints what held, line by line.

Every function whose name begins with `check_` is a test; test_cuda_torch.py reports each.
"""

import threading
import traceback

import numpy as np
import pytest
import torch

import mdn_cupy as mdn
from cuda_host import imagined_device
from cuda_host.imagined_device import capture, records, stream, tensor, to_numpy
from mdn_cupy import reference

RNG = np.random.default_rng(0)
CONFIDENCE = RNG.random((3, 5, 6)).astype(np.float32)
OFFSETS = RNG.normal(0, 1, (3, 2, 5, 6)).astype(np.float32)
COTANGENT = RNG.normal(size=(3, 5, 6)).astype(np.float32)
SIGMA = np.float32(1.5)


def step():
    """A map, additive since that needs no operator of torch's, and the gradients of all three."""
    leaves = [tensor(x).requires_grad_() for x in (CONFIDENCE, OFFSETS, SIGMA)]
    total = mdn.additive(*leaves)
    return total, torch.autograd.grad(total, leaves, tensor(COTANGENT))


def kernels_run():
    return [record for record in records if record.what.endswith(">")]


def assert_right(total, gradients):
    want = reference.additive(CONFIDENCE, OFFSETS, SIGMA)
    np.testing.assert_allclose(to_numpy(total), want, atol=1e-5)
    wanted = reference.additive_vjp(COTANGENT, CONFIDENCE, OFFSETS, SIGMA)
    for got, want in zip(gradients, wanted, strict=True):
        np.testing.assert_allclose(to_numpy(got), want, atol=1e-4, rtol=1e-4)


def check_the_backward_pass_runs_on_autograds_thread_and_is_right():
    total, gradients = step()
    threads = {record.what.partition("<")[0]: record.thread for record in kernels_run()}
    here = threading.get_native_id()
    assert threads["peak"] == threads["accumulate"] == threads["read_out"] == here
    assert threads["gather"] != here
    assert_right(total, gradients)


def check_both_passes_keep_to_the_device_and_the_stream_of_the_tensors():
    with stream(4711):
        step()
    assert {(record.device, record.stream) for record in kernels_run()} == {(0, 4711)}
    assert {record.device for record in records} == {0}


def check_all_memory_is_torchs_and_no_more_than_it_takes():
    confidence, offsets, sigma, cotangent = map(tensor, (CONFIDENCE, OFFSETS, SIGMA, COTANGENT))
    records.clear()
    total = mdn.additive(confidence.requires_grad_(), offsets, sigma)
    assert [record.what for record in records][:3] == ["empty"] * 3  # result, sums, peaks
    assert len(kernels_run()) == len(records) - 3 == 3
    records.clear()
    torch.autograd.grad(total, confidence, cotangent)
    assert [record.what for record in records] == ["empty", "gather<float, 1, false>"]


def check_a_step_can_be_captured_into_a_graph():
    """After a step for warming up; CUDA forbids the rest."""
    step()
    records.clear()
    with capture(99):
        total, gradients = step()
    assert {record.what for record in records if record.stream is None} == {"empty", "sum"}
    assert {record.stream for record in kernels_run()} == {99}
    assert len(kernels_run()) == 4
    assert_right(total, gradients)


def check_a_sigma_that_is_a_number_costs_no_copy():
    with capture(99):
        leaves = [x.requires_grad_() for x in (tensor(CONFIDENCE), tensor(OFFSETS))]
        total = mdn.additive(*leaves, float(SIGMA))
        gradients = torch.autograd.grad(total, leaves, tensor(COTANGENT))
    wanted = reference.additive_vjp(COTANGENT, CONFIDENCE, OFFSETS, SIGMA)
    for got, want in zip(gradients, wanted[:2], strict=True):
        np.testing.assert_allclose(to_numpy(got), want, atol=1e-4, rtol=1e-4)


def check_the_device_gives_nothing_away():
    """What would wait for a GPU raises; a launch on the legacy stream does so during capture."""
    made = tensor(SIGMA)
    for read in (float, torch.Tensor.tolist, torch.Tensor.cpu, torch.Tensor.numpy):
        with pytest.raises((AssertionError, NotImplementedError, TypeError, RuntimeError)):
            read(made)
    with pytest.raises(AssertionError, match="waits"):
        torch.cuda.synchronize()
    with capture(99), stream(0), pytest.raises(AssertionError, match="legacy"):
        step()
    with capture(99), pytest.raises(AssertionError, match="loaded during capture"):
        mdn.additive(tensor(CONFIDENCE), tensor(OFFSETS), 1.0, deterministic=False)


def main():
    imagined_device.install()
    for name, check in list(globals().items()):
        if name.startswith("check_"):
            records.clear()
            try:
                check()
                print("held", name)
            except BaseException:
                traceback.print_exc()
                print("failed", name)


if __name__ == "__main__":
    main()
