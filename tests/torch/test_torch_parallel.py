"""Several threads, several processes, and how much memory a training step takes."""

import sys
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from helpers import environment, run_python
from torch_support import assert_close, fields, gradients

import mdn_cupy as mdn
from benchmarks import processes

TRAINING = """
import sys, torch, mdn_cupy as mdn

def network():
    torch.manual_seed(0)
    return torch.nn.Sequential(
        torch.nn.Conv2d(3, 8, 3, padding=1),
        mdn.torch.MDNKeypointHead(8, 3, stride=2, learnable=True, edges=[(0, 1)]),
    ).double()

def batch():
    generator = torch.Generator().manual_seed(1)
    images = torch.randn(4, 3, 8, 8, generator=generator, dtype=torch.float64)
    return images, torch.rand(4, 3, 16, 16, generator=generator, dtype=torch.float64)

def train(model, images, targets):
    loss = torch.nn.functional.binary_cross_entropy_with_logits(model(images), targets)
    loss.backward()
    return [p.grad for p in model.parameters()]
"""

RANK = """
import torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel

rank, folder = int(sys.argv[1]), sys.argv[2]
dist.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=2)
model = DistributedDataParallel(network())
images, targets = batch()
share = slice(2 * rank, 2 * rank + 2)
torch.save(train(model, images[share], targets[share]), f"{folder}/{rank}.pt")
dist.destroy_process_group()
"""


def test_threads_forward_and_backward_at_once_give_the_same_bits():
    """As DataParallel runs its replicas, and as a server may."""
    arguments = [fields("per source", torch.float32, seed=seed) for seed in range(8)]
    want = [gradients(mdn.noisy_or, each) for each in arguments]

    def train(k):
        return gradients(mdn.noisy_or, [x.detach().requires_grad_() for x in arguments[k]])

    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(train, [*range(8)] * 6))
    for k, got in enumerate(found):
        assert_close(got, want[k % 8], 0)


def test_one_module_may_vote_in_several_threads():
    layer = mdn.torch.MassDisplacement(sigma=1.5)
    generator = torch.Generator().manual_seed(0)
    inputs = [
        (torch.rand(3, 40, 30, generator=generator), torch.randn(3, 2, 40, 30, generator=generator))
        for _ in range(6)
    ]
    want = [layer(*x) for x in inputs]
    with ThreadPoolExecutor(3) as pool:
        for got, m in zip(pool.map(lambda x: layer(*x), inputs), want, strict=True):
            assert torch.equal(got, m)


def run_two(code, folder):
    """Run code in two processes, and load what each has saved."""
    alone = environment(GLOO_SOCKET_IFNAME="lo", OMP_NUM_THREADS="1")

    def run(rank):
        return run_python("-c", code, str(rank), str(folder), env=alone)

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(run, range(2)))
    return [torch.load(folder / f"{rank}.pt") for rank in range(2)]


@pytest.mark.slow
def test_two_processes_train_as_one(tmp_path):
    """DistributedDataParallel over gloo: the mean of the gradients of both halves of a batch."""
    found = {}
    exec(TRAINING, found)
    want = found["train"](found["network"](), *found["batch"]())
    for got in run_two(TRAINING + RANK, tmp_path):
        assert_close(got, want, 1e-12)


SHARDED = """
import torch.distributed as dist
from torch.distributed.fsdp import fully_shard, register_fsdp_forward_method

rank, folder = int(sys.argv[1]), sys.argv[2]
dist.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=2)
model = network()
fully_shard(model[1])
fully_shard(model)
register_fsdp_forward_method(model[1], "log_complement")
images, targets = batch()
share = slice(2 * rank, 2 * rank + 2)
gradients = [g.full_tensor() for g in train(model, images[share], targets[share])]
x = torch.ones(1, 8, 3, 3, dtype=torch.float64)
assert model[1].log_complement(x).shape == (1, 3, 6, 6)
torch.save(gradients, f"{folder}/{rank}.pt")
dist.destroy_process_group()
"""


@pytest.mark.slow
def test_a_sharded_network_trains_as_one(tmp_path):
    """fully_shard (FSDP2), with the head's only sigma among the parameters."""
    found = {}
    exec(TRAINING, found)
    want = found["train"](found["network"](), *found["batch"]())
    for got in run_two(TRAINING + SHARDED, tmp_path):
        assert_close(got, want, 1e-12)


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the peak is Linux's to tell")
def test_a_training_step_needs_at_most_twice_what_it_reads_and_writes():
    shape = (17, 256, 256)
    plane = 4 * 17 * 256 * 256
    inputs, outputs = (1 + 2) * plane, (1 + 1 + 2) * plane  # c, o; m, and the gradients
    assert processes.peak_bytes("mdn-cupy", "training", shape, 2.0) <= 2 * (inputs + outputs)
