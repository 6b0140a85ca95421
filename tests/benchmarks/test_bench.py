"""`benchmarks/cpu.py` and the smaller files of benchmarks/. No timing."""

import importlib.util
import json
import re
import sys

import matplotlib.image
import pytest
from bench_support import ONCE, SMALL, refused
from helpers import ROOT, run_python

from benchmarks import cpu, processes
from mdn_cupy.cuda.kernel_source import instances

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
    """What `cpu.py --quick --json` of little work writes."""
    path = tmp_path_factory.mktemp("bench") / "bench.json"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cpu, "QUICK", TINY)
        without_processes(patch, peak=1000)
        assert cpu.main(["--quick", "--json", str(path)]) == 0
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
    for module in ("benchmarks.peers", "mdn_cupy.backend"):
        monkeypatch.setattr(sys.modules[module], "find_spec", lambda _: None)
    without_processes(monkeypatch, peak=None)
    report = cpu.measure(TINY)
    assert report.notes == [
        'nothing through torch is measured: torch is not installed; pip install "mdn-cupy[torch]"'
    ]
    assert list(report.speeds["forward"][0].seconds) == ["mdn-cupy", "NumPy bincount"]
    assert "training through torch" not in report.speeds
    assert report.peaks == []


def test_a_file_that_cannot_be_is_refused_before_anything_is_measured(
    capsys, tmp_path, monkeypatch
):
    monkeypatch.setattr(cpu, "measure", lambda _: pytest.fail("measured"))
    assert "cannot be written" in refused(capsys, cpu, "--json", tmp_path / "no" / "b.json")
    assert "is a directory" in refused(capsys, cpu, "--json", tmp_path)
    assert list(tmp_path.iterdir()) == []


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


@pytest.mark.parametrize("name", ["cpu", "cuda", "kernel_resources"])
def test_a_benchmark_runs_as_a_script_from_anywhere(name, tmp_path):
    printed = run_python(str(ROOT / "benchmarks" / f"{name}.py"), "--help", cwd=tmp_path)
    assert printed.startswith(f"usage: {name}.py [-h] [--quick] [--json FILE]")


def test_the_resources_of_one_architecture_are_compiled_by_the_script(tmp_path):
    script = str(ROOT / "benchmarks" / "kernel_resources.py")
    printed = run_python(script, "--quick", cwd=tmp_path).splitlines()
    assert len(printed) == 1 + len(instances("float"))
    assert all(line.startswith("sm_90 ") for line in printed[1:])
