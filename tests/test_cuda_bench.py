"""What `mdn-cupy bench --device cuda` does when a peer runs out of the device's memory."""

from types import SimpleNamespace

from mdn_cupy.bench import cuda
from mdn_cupy.bench.measure import Budget


def fail():
    raise RuntimeError("CUDA out of memory\nand a long story")


def test_a_peer_that_fails_at_one_size_is_left_out_there_and_noted():
    notes = []
    plan = cuda.Plan(Budget(0, least=1), (), copied_bytes=1, roofline_times=1)
    device = SimpleNamespace(seconds=lambda call: 1e-3)
    contenders = {"mdn-cupy": int, "torch windowed": fail, "torch by rows": int}
    timings = cuda._compete(plan, device, contenders, notes)
    assert list(timings) == ["mdn-cupy", "torch by rows"]
    assert notes == ["left out once: torch windowed: CUDA out of memory"]
