"""The benchmark: what it counts and prints, and that the others compute the same. No timing."""

import importlib.util
import json
import re
import sys
from dataclasses import replace
from types import SimpleNamespace

import matplotlib.image
import numpy as np
import pytest
from cuda_host import HostExecutor, HostModule
from helpers import ROOT

from mdn_cupy import cuda as backend
from mdn_cupy.__main__ import main
from mdn_cupy.backends import Status
from mdn_cupy.bench import cpu, cuda, device, peers, processes, roofline, suite
from mdn_cupy.bench.cases import collapsed, scattered, sparse
from mdn_cupy.bench.measure import Budget, Timing, compete, wall
from mdn_cupy.bench.report import Limits, Peak, Report, Speed
from mdn_cupy.cuda import resources

SMALL = ((2, 9, 12), 1.0)
ONCE = Budget(seconds=0, least=1, most=1)


# Cases and peers


@pytest.mark.parametrize("kind", [scattered, collapsed, sparse])
@pytest.mark.parametrize("sigma", [0.3, 1.0, 2.7])
def test_votes_are_the_pixels_in_the_windows_of_those_who_vote(kind, sigma):
    case = kind((2, 17, 23), sigma)
    counted = 0
    for part, i, j in np.argwhere(case.confidence != 0):
        o_x, o_y = case.offsets[part, :, i, j].astype(float)
        columns = np.abs(np.arange(23) - (j + o_x)) <= 4 * sigma
        counted += columns.sum() * (np.abs(np.arange(17) - (i + o_y)) <= 4 * sigma).sum()
    assert case.votes == counted > 0
    assert case.nbytes == 2 * 17 * 23 * 4 * (1 + 2 + 1)


def test_a_collapsed_field_votes_for_one_point():
    case = collapsed((2, 8, 12), 1.0)
    assert set((case.offsets[:, 0] + np.arange(12)).ravel()) == {6.5}
    assert set((case.offsets[:, 1] + np.arange(8)[:, None]).ravel()) == {4.5}


@pytest.mark.parametrize("peer", [peers.OURS, *peers.peers()], ids=lambda peer: peer.name)
@pytest.mark.parametrize("case", [scattered((2, 11, 14), 1.3), collapsed((1, 6, 5), 0.8)])
def test_the_others_compute_what_the_specification_says(peer, case):
    peers.check(peer, case)


@pytest.mark.parametrize("off", [1e-3, np.nan])
def test_who_computes_something_else_is_found_out(off):
    wrong = replace(peers.OURS, vote=lambda *fields: peers.OURS.vote(*fields) + off)
    with pytest.raises(RuntimeError, match="mdn-cupy, noisy_or: off the specification by"):
        peers.check(wrong, scattered(*SMALL))


def test_wrong_gradients_are_found_out():
    wrong = replace(peers.OURS, vote=lambda c, *rest: peers.OURS.vote(c.detach() + c * 0, *rest))
    wrong = replace(wrong, takes_arrays=False)
    with pytest.raises(RuntimeError, match="noisy_or backward: off the specification"):
        peers.check(wrong, scattered(*SMALL))


# The roofline


def products_of(weight, confidence, times):
    return np.prod(1 - confidence.astype(float)[:, None] * weight, axis=0) ** times


def test_the_loop_in_registers_computes_what_it_should():
    rng = np.random.default_rng(1)
    weight = rng.random(roofline.PIXELS, dtype=np.float32)
    confidence = rng.uniform(-0.05, 0.05, 37).astype(np.float32)
    for rows, times in ((37, 3), (1, 1), (2, 5)):
        got = roofline.products(weight, confidence[:rows], times)
        np.testing.assert_allclose(got, products_of(weight, confidence[:rows], times), rtol=1e-4)


def test_no_input_of_the_loop_is_optimised_away():
    weight = np.linspace(0.5, 1, roofline.PIXELS, dtype=np.float32)
    confidence = np.full(8, 0.01, np.float32)
    before = roofline.products(weight, confidence, 2)
    for k in (0, roofline.PIXELS - 1):
        other = weight.copy()
        other[k] = 0.2
        assert np.flatnonzero(roofline.products(other, confidence, 2) != before).tolist() == [k]
    for n in range(8):
        other = confidence.copy()
        other[n] = 0.02
        assert (roofline.products(weight, other, 2) != before).all()
    assert (roofline.products(weight, confidence, 3) != before).all()


def test_the_roofline_is_a_plausible_number():
    assert 1e7 < roofline.pairs_per_second(0.05) < 1e14


# Measuring


def test_contenders_run_in_turn_until_their_budget_is_spent():
    order = []
    contenders = {"slow": lambda: order.append("s"), "fast": lambda: order.append("f")}

    def clock(call):
        call()
        return {"s": 3.0, "f": 1.0}[order[-1]]

    found = compete(contenders, Budget(seconds=6.0, least=2), clock)
    assert "".join(order) == "sfsfffff"
    assert found == {"slow": Timing(3.0, 3.0, 2), "fast": Timing(1.0, 1.0, 6)}
    assert compete({"x": lambda: 0}, Budget(9.0, most=4), lambda _: 1e-9)["x"].runs == 4


def test_the_wall_clock_runs_the_call():
    ran = []
    assert wall(lambda: ran.append(1)) > 0
    assert ran == [1]


def test_a_step_that_fails_leaves_a_note_and_the_others_run(capsys):
    def fail():
        raise RuntimeError("out of memory\nand so on")
        yield

    speed = Speed("sum", {"ours": Timing(1.0, 1.0, 1)})
    steps = [suite.Step("table", "bad", fail), suite.Step("table", "good", lambda: [speed])]
    report = suite.run(steps, Report({}, Limits(1e9)))
    assert report.speeds == {"table": [speed]}
    assert report.notes == ["not measured: table, bad: out of memory"]
    assert capsys.readouterr().err == ""  # no terminal, no progress bar


def test_an_interrupted_run_keeps_what_it_has():
    def interrupt():
        raise KeyboardInterrupt

    speed = Speed("sum", {"ours": Timing(1.0, 1.0, 1)})
    measures = (lambda: [speed], interrupt, lambda: [speed])
    steps = [suite.Step("table", str(n), measure) for n, measure in enumerate(measures)]
    report = suite.run(steps, Report({}, Limits(1e9)))
    assert report.speeds == {"table": [speed]}
    assert report.notes == ["interrupted: nothing from table, 1 on"]


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the peak is Linux's to tell")
def test_the_peak_of_a_pass_holds_its_gradients():
    shape, sigma = (4, 256, 256), 0.3
    gradients = 4 * 256 * 256 * 4 * 3
    assert processes.peak_bytes("mdn-cupy", "training", shape, sigma) > gradients


def test_other_processes_import_vote_and_compile():
    assert 0 < processes.import_seconds() < processes.first_call_seconds()[0]
    assert processes.forward_seconds(*SMALL, threads=1, seconds=0.01) > 0


def test_a_process_that_fails_says_why():
    with pytest.raises(RuntimeError, match=r"failed .*peak_of_pass.*KeyError: 'nobody'"):
        processes.peak_bytes("nobody", "forward", *SMALL)


# The report

REPORT = Report(
    {"machine": "Z80, 1 thread"},
    Limits(50e9),
    {
        "forward": [
            Speed(
                "noisy-or",
                {"mdn-cupy": Timing(0.01, 0.0125, 9), "other": Timing(0.5, 0.6, 3)},
                votes=100_000_000,
                pairs=True,
            ),
            Speed("additive", {"mdn-cupy": Timing(0.2, 1.5, 9)}, votes=1000),
        ],
        "start": [Speed("import", {"mdn-cupy": Timing(25e-6, 0.0325, 9)})],
    },
    [Peak("noisy-or", {"mdn-cupy": 512, "other": 2_040_000_000}, 4_456_448)],
    ["no torch"],
)

TABLES = """\
machine   Z80, 1 thread
roofline  50.0 G pairs/s of q[k] *= 1 - g*a[k] in registers, float32

forward    votes   median  fastest  votes/s  roofline  × other
noisy-or   100 M  12.5 ms  10.0 ms   10.0 G     20.0%       50
additive  1.00 k   1.50 s   200 ms   5.00 k

start   votes   median  fastest  votes/s
import         32.5 ms  25.0 µs

peak memory beyond the inputs  in + out  mdn-cupy    other
noisy-or                        4.46 MB     512 B  2.04 GB

no torch"""


def test_the_report_as_tables():
    assert str(REPORT) == TABLES


def test_the_report_as_json():
    data = json.loads(json.dumps(REPORT.data()))
    row = data["speeds"]["forward"][0]
    assert row["seconds"]["other"] == {"fastest": 0.5, "median": 0.6, "runs": 3}
    assert row["votes"] == 100_000_000
    assert data["peaks"][0]["peak_bytes"]["mdn-cupy"] == 512
    assert data["limits"]["pairs_per_second"] == 50e9


# The command

TINY = cpu.Plan(
    ONCE,
    roofline_seconds=0.01,
    fields=(SMALL,),
    small=SMALL,
    growth=(1e3, 1e4),
    growth_of_peers=1e3,
    processes=1,
)


def without_processes(patch, peak):
    """Measure nothing in other processes."""
    for name, value in {
        "import_seconds": 1.0,
        "first_call_seconds": (2.0, 1.0),
        "forward_seconds": 1.0,
        "peak_bytes": peak,
    }.items():
        patch.setattr(processes, name, lambda *_, value=value: value)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    """What `mdn-cupy bench --quick --json` of little work writes."""
    path = tmp_path_factory.mktemp("bench") / "bench.json"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cpu, "QUICK", TINY)
        without_processes(patch, peak=1000)
        assert main(["bench", "--quick", "--json", str(path)]) == 0
    return path


def test_bench_measures_all_there_is_to_measure(tiny):
    data = json.loads(tiny.read_text("utf-8"))
    assert data["notes"] == []
    rows = {title: [row["work"] for row in table] for title, table in data["speeds"].items()}
    case = "2 × 9 × 12, σ 1"
    assert rows == {
        "forward": [f"noisy-or, {case}", f"additive, {case}"],
        "backward, given L": [f"noisy-or, {case}"],
        "training through torch": [f"noisy-or forward + backward, {case}"],
        "easy and hard fields": [
            *(f"noisy-or, {case}{kind}" for kind in ("", ", collapsed", ", 1% not 0"))
        ],
        "all threads against one": [f"noisy-or, {case}"],
        "a small field, a call": [f"noisy-or, {case}", f"noisy-or forward + backward, {case}"],
        "growth": ["noisy-or, 1 × 2 × 2, σ 2", "noisy-or, 1 × 6 × 6, σ 2"],
        "start": [
            "import mdn_cupy, NumPy being there",
            "first call, nothing compiled yet",
            "first call, compiled by an earlier process",
        ],
    }
    everyone = ["mdn-cupy", "torch windowed", "torch by rows", "NumPy bincount"]
    assert list(data["speeds"]["forward"][0]["seconds"]) == everyone
    assert list(data["speeds"]["training through torch"][0]["seconds"]) == everyone[:3]
    assert "torch dense" in data["speeds"]["forward"][1]["seconds"]
    assert [list(row["seconds"]) for row in data["speeds"]["growth"]] == [everyone, everyone[:1]]
    assert re.search(r"mdn-cupy \S+, Python \S+, numpy \S+, numba \S+", data["machine"]["versions"])
    assert [row["work"] for row in data["peaks"]] == [
        f"noisy-or training, {case}",
        "noisy-or forward, 1 × 2 × 2, σ 2",
        "noisy-or forward, 1 × 6 × 6, σ 2",
    ]
    assert list(data["peaks"][0]["peak_bytes"]) == everyone[:3]
    assert all(
        row["seconds"]["mdn-cupy"]["fastest"] > 0 for t in data["speeds"].values() for row in t
    )


def test_without_torch_the_rest_is_measured(monkeypatch):
    for module in ("mdn_cupy.bench.peers", "mdn_cupy.backends"):
        monkeypatch.setattr(sys.modules[module], "find_spec", lambda _: None)
    without_processes(monkeypatch, peak=None)
    report = cpu.measure(TINY)
    assert report.notes == [
        'nothing through torch is measured: torch is not installed; pip install "mdn-cupy[torch]"'
    ]
    assert list(report.speeds["forward"][0].seconds) == ["mdn-cupy", "NumPy bincount"]
    assert "training through torch" not in report.speeds
    assert report.peaks == []


def refused(capsys, *argv):
    assert main(["bench", *map(str, argv)]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("\n") == 1
    return captured.err


def test_a_file_that_cannot_be_is_refused_before_anything_is_measured(
    capsys, tmp_path, monkeypatch
):
    monkeypatch.setattr(cpu, "measure", lambda _: pytest.fail("measured"))
    assert "cannot be written" in refused(capsys, "--json", tmp_path / "no" / "b.json")
    assert "is a directory" in refused(capsys, "--json", tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_cuda_without_a_gpu_is_refused_with_the_reason(capsys, monkeypatch):
    monkeypatch.setattr(backend, "status", lambda: Status(False, "no driver"))
    assert refused(capsys, "--device", "cuda") == "mdn-cupy: --device cuda: no driver\n"


def test_resources_without_cupy_are_refused_with_the_reason(capsys, monkeypatch):
    def fail():
        raise ImportError("No module named 'cupy'")

    monkeypatch.setattr(resources, "resources", fail)
    assert refused(capsys, "--resources") == "mdn-cupy: --resources: No module named 'cupy'\n"


def test_resources_are_printed_and_written(capsys, monkeypatch, tmp_path):
    row = resources.Resources("sm_90", "gather<float, 0, true>", 40, 0, 0, 4096, 0)
    monkeypatch.setattr(resources, "resources", lambda: [row])
    assert main(["bench", "--resources", "--json", str(tmp_path / "r.json")]) == 0
    assert resources.resource_table([row]) in capsys.readouterr().out
    (written,) = json.loads((tmp_path / "r.json").read_text())["resources"]
    assert written["registers"] == 40
    assert 0 < written["occupancy"] <= 1


def test_bench_cuda_measures_on_cupys_device(capsys, monkeypatch):
    monkeypatch.setattr(backend, "status", lambda: Status(True, "a GPU"))
    monkeypatch.setattr(device, "CupyDevice", HostDevice)
    monkeypatch.setattr(cuda, "QUICK", TINY_CUDA)
    assert main(["bench", "--device", "cuda", "--quick"]) == 0
    assert capsys.readouterr().out.startswith("machine   the host\n")


# CUDA, on the host executor with a stub clock


class HostDevice:
    """See `mdn_cupy.bench.device.Device`; every call takes a millisecond."""

    name = "the host"
    blocks = 2
    torch = "cpu"

    def array(self, values):
        return np.array(values)

    def executor(self, array):
        return HostExecutor()

    def kernel(self, text, name):
        return HostModule(text, [name]).get_function(name)

    def seconds(self, call):
        call()
        return 1e-3


TINY_CUDA = cuda.Plan(
    ONCE, ((scattered, *SMALL), (collapsed, *SMALL)), copied_bytes=1000, roofline_times=1
)


def test_the_loop_on_the_device_computes_what_it_should():
    rng = np.random.default_rng(1)
    weight = rng.random(8, dtype=np.float32)
    confidence = rng.uniform(-0.05, 0.05, 256).astype(np.float32)
    got = cuda.roofline(HostDevice(), weight, confidence)(2)
    want = products_of(weight, confidence, 2)
    assert got.shape == (2, 256, 8)
    for thread in (0, 1, 255):
        np.testing.assert_allclose(got[1, thread], np.roll(want, -thread), rtol=1e-4)


def test_bench_cuda_measures_all_there_is_to_measure():
    report = cuda.measure(TINY_CUDA, HostDevice())
    assert report.notes == []
    assert report.limits == Limits(2 * 256 * 8 * 256 / 1e-3, 2 * 1000 / 1e-3)
    cases = ("2 × 9 × 12, σ 1", "2 × 9 × 12, σ 1, collapsed")
    rows = {title: [row.work for row in table] for title, table in report.speeds.items()}
    assert rows == {
        "forward": [
            f"{rule}, {case}"
            for case in cases
            for rule in ("noisy-or", "noisy-or by float atomics", "additive")
        ],
        "backward": [f"noisy-or, {case}" for case in cases],
        "forward + backward": [f"noisy-or, {case}" for case in cases],
    }
    assert list(report.speeds["forward"][0].seconds) == [
        "mdn-cupy",
        "torch windowed",
        "torch by rows",
    ]
    assert report.speeds["backward"][0].votes == scattered(*SMALL).votes
    assert "bandwidth" in str(report)


def test_without_torch_on_the_device_only_our_kernels_are_measured():
    alone = HostDevice()
    alone.torch = None
    report = cuda.measure(TINY_CUDA, alone)
    assert report.notes == ["no peers: there is no torch that can use this device"]
    assert all(list(row.seconds) == ["mdn-cupy"] for t in report.speeds.values() for row in t)


def test_a_peer_that_fails_on_the_device_is_left_out(monkeypatch):
    def fail(*_):
        raise RuntimeError("no kernel image\nfor this device")

    failing = replace(peers.peers()[0], vote=fail)
    monkeypatch.setattr(cuda, "peers", lambda: [failing, *peers.peers()[1:]])
    report = cuda.measure(TINY_CUDA, HostDevice())
    assert report.notes == ["left out: no kernel image"]
    assert list(report.speeds["forward"][0].seconds) == ["mdn-cupy", "torch by rows"]


def test_kernels_that_compute_something_else_are_found_out(capsys, monkeypatch):
    monkeypatch.setattr(backend, "accumulate", lambda problem, _: np.zeros(problem.result_shape))
    monkeypatch.setattr(backend, "status", lambda: Status(True, "a GPU"))
    monkeypatch.setattr(device, "CupyDevice", HostDevice)
    line = refused(capsys, "--device", "cuda")
    assert line == "mdn-cupy: --device cuda: noisy_or: off the specification by 1\n"


def test_cupys_device_times_by_events(monkeypatch):
    log = []

    class Event:
        def record(self):
            log.append("record")

        def synchronize(self):
            log.append("synchronize")

    fake = SimpleNamespace(
        asarray=np.asarray,
        RawModule=lambda code, options: SimpleNamespace(get_function=lambda name: (code, name)),
        cuda=SimpleNamespace(
            Event=Event,
            get_elapsed_time=lambda start, stop: 50.0,
            runtime=SimpleNamespace(
                getDevice=lambda: 1, getDeviceProperties=lambda n: {"multiProcessorCount": 100 * n}
            ),
        ),
    )
    monkeypatch.setitem(sys.modules, "cupy", fake)
    monkeypatch.setattr(backend, "status", lambda: Status(True, "a GPU"))
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    gpu = device.CupyDevice()
    assert (gpu.name, gpu.blocks, gpu.torch) == ("a GPU", 800, "cuda:1")
    assert gpu.seconds(lambda: log.append("call")) == pytest.approx(0.005)
    assert log == ["record", *["call"] * 10, "record", "synchronize"]
    assert gpu.kernel("text", "name") == ("text", "name")
    assert isinstance(gpu.executor(SimpleNamespace(device=1)), backend.CupyExecutor)
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    assert device.CupyDevice().torch is None


# benchmarks/


def load(path):
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_scaling_plot_is_drawn_from_a_report(tiny, tmp_path, capsys):
    plot = load(ROOT / "benchmarks" / "plot_scaling.py")
    plot.main([str(tiny), "-o", str(tmp_path / "scaling.png")])
    assert matplotlib.image.imread(tmp_path / "scaling.png").shape[1] > 500


def test_the_regression_cases_run(monkeypatch):
    votes = load(ROOT / "benchmarks" / "regressions" / "votes.py")
    monkeypatch.setattr(votes, "SHAPE", (1, 8, 8))
    for suite_of in (votes.Votes, votes.SmallField, votes.Training):
        for parameters in [(value,) for value in (getattr(suite_of, "params", ((),))[0])] or [()]:
            case = suite_of()
            case.setup(*parameters)
            for name in [name for name in dir(case) if name.startswith("time_")]:
                getattr(case, name)(*parameters)
    assert "import mdn_cupy" in votes.timeraw_import()
