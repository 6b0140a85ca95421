"""The benchmark of the viewer: what it counts as a freeze is none of its own."""

from pathlib import Path
from types import SimpleNamespace

from qtpy.QtCore import QTimer


def test_the_window_handles_events_while_the_benchmark_waits_for_all_pixels(qapp, monkeypatch):
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2] / "benchmarks" / "viewer"))
    from latency import run_until_exact

    model = SimpleNamespace(session="newest", voted="newest", exact=False)
    turns = []

    def turn():
        turns.append(model.exact)
        model.exact = len(turns) >= 3

    timer = QTimer()
    timer.timeout.connect(turn)
    timer.start(0)
    run_until_exact(model)
    timer.stop()
    assert turns[:3] == [False] * 3
