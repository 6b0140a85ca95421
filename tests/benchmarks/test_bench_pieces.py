"""What the benchmark is made of: cases, peers, the roofline, clocks, the report. No timing."""

import json
import sys
from dataclasses import replace

import numpy as np
import pytest
from bench_support import SMALL, products_of

from benchmarks import instances, peaks, peers, processes, roofline, runner
from benchmarks.inputs import collapsed, scattered, sparse
from benchmarks.report import Limits, Peak, Report, Speed
from benchmarks.timing import Budget, Timing, compete, wall

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
    steps = [runner.Step("table", "bad", fail), runner.Step("table", "good", lambda: [speed])]
    report = runner.run(steps, Report({}, Limits(1e9)))
    assert report.speeds == {"table": [speed]}
    assert report.notes == ["not measured: table, bad: out of memory"]
    assert capsys.readouterr().err == ""  # no terminal, no progress bar


def test_an_interrupted_run_keeps_what_it_has():
    def interrupt():
        raise KeyboardInterrupt

    speed = Speed("sum", {"ours": Timing(1.0, 1.0, 1)})
    measures = (lambda: [speed], interrupt, lambda: [speed])
    steps = [runner.Step("table", str(n), measure) for n, measure in enumerate(measures)]
    report = runner.run(steps, Report({}, Limits(1e9)))
    assert report.speeds == {"table": [speed]}
    assert report.notes == ["interrupted: nothing from table, 1 on"]


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the peak is Linux's to tell")
def test_the_peak_of_a_pass_holds_its_gradients():
    shape, sigma = (4, 256, 256), 0.3
    gradients = 4 * 256 * 256 * 4 * 3
    assert processes.peak_bytes("mdn-cupy", "training", shape, sigma) > gradients


@pytest.mark.slow
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


# Peaks and instances


def test_ways_to_label_agree_where_votes_land_near_their_centres(monkeypatch, capsys):
    for name, value in {"SIDE": 64, "ROWS": 3, "COLUMNS": 2}.items():
        monkeypatch.setattr(instances, name, value)
    votes = instances.made()
    found = votes.peaks(threshold=instances.THRESHOLD, min_distance=instances.RADIUS)
    assert len(found) == 6
    ways = instances.ways_to_label(votes, found)
    labels = ways["votes.instances"]().labels
    for how in instances.DISTANCES:
        assert np.mean(labels == ways[f"grouping {how}"]()) > 0.999
    instances.main(["--seconds", "0"])
    assert [line.split("  ")[0] for line in capsys.readouterr().out.splitlines()[2:]] == [*ways]


def test_every_search_for_peaks_is_measured(monkeypatch, capsys):
    monkeypatch.setattr(peaks, "SIDE", 48)
    peaks.main(["--seconds", "0"])
    lines = capsys.readouterr().out.splitlines()[2:]
    assert len(lines) == 3 * len(peaks.CASES)
    searches = [line.split() for line in lines if line.startswith("one plateau")]
    assert [words[-1] for words in searches if "mdn.find_peaks" in words] == ["1"]
