"""The example of the viewer's guide runs."""

import re

import pytest
from helpers import ROOT, run_python

GUIDE = (ROOT / "docs" / "viewer.md").read_text(encoding="utf-8")

# Ahead of it: what a program of the reader's has, and a hand that closes the first window.
PROGRAM = """
import napari.qt
import numpy as np
from qtpy.QtCore import QTimer

confidence, offsets = np.full((2, 12, 14), 0.5, "float32"), np.zeros((2, 2, 12, 14), "float32")
image, loader, train = np.zeros((89, 105)), range(3), lambda batch: None
napari.qt.get_qapp()


def close_the_window():
    open_ones = napari.current_viewer()
    if open_ones is not None:
        open_ones.close()


timer = QTimer()
timer.timeout.connect(close_the_window)
timer.start(3000)
"""


@pytest.mark.slow
@pytest.mark.window
def test_the_example_of_the_guide_runs(qapp, tmp_path):
    (example,) = re.findall(r"```python\n(.*?)```", GUIDE, flags=re.DOTALL)
    script = tmp_path / "script.py"
    script.write_text(f"{PROGRAM}\n{example}\nprint(window.closed)\nwindow.close()\n")
    assert run_python(str(script)) == "False\n"
