"""The guide's table of the shapes that networks write: each row opens as it says."""

import re
from types import SimpleNamespace

import mdn_viewer
import numpy as np
import pytest
from helpers import ROOT
from mdn_viewer import settings
from mdn_viewer.widgets.open_dialog import OpenDialog
from qtpy.QtWidgets import QDialogButtonBox
from viewer_support import press, wrong

import mdn_cupy as mdn

GUIDE = (ROOT / "docs" / "viewer.md").read_text(encoding="utf-8")
TABLE = GUIDE.partition("## The ten most common shapes\n")[2].partition("\n## ")[0]
ROWS = {
    cells[0]: cells[1:]
    for line in TABLE.splitlines()
    if line.startswith("| ") and len(cells := [cell.strip() for cell in line.split("|")[1:-1]]) == 4
    if cells[0] != "network"
}
ONE_ARRAY = {"MMPose, UDP combined", "OpenPifPaf", "Panoptic-DeepLab"}  # or a setting to be asked


def arrays_of(described):
    """Random arrays of the names and shapes in a cell; bytes for the image."""
    rng, found = np.random.default_rng(0), {}
    for name, shape in re.findall(r"`(\w+)` \(([\d, ]+)\)", described):
        size = tuple(map(int, shape.split(",")))
        found[name] = rng.normal(size=size).astype(np.float32)
        if name == "image":
            found[name] = rng.integers(0, 255, size).astype(np.uint8)
        elif name in ("confidence", "foreground", "cif") or size == (96, 128):
            found[name] = rng.uniform(0.05, 0.9, size).astype(np.float32)
    return found


@pytest.fixture
def widget(shared):
    settings.get_plugin_settings("mdn-cupy").files.readings = "{}"
    shared._viewer.layers.clear()
    shared.wait()
    shared.controls.message.say("")
    return shared


def test_the_table_has_ten_rows():
    assert len(ROWS) == 10
    assert {name for name, cells in ROWS.items() if cells[1] == "–"} == ONE_ARRAY


@pytest.mark.parametrize("network", ROWS)
def test_a_row_opens_in_a_line_of_python_and_in_three_acts(widget, qtbot, tmp_path, network):
    described, clicks, code = ROWS[network]
    arrays = arrays_of(described)

    def show(*given, **named):
        return mdn_viewer.show(*given, **named, viewer=widget._viewer)

    names = {"mdn": mdn, "mdn_viewer": SimpleNamespace(show=show), **arrays}
    exec(code.strip("`"), names)
    widget.wait()
    assert not wrong(widget)
    by_code = widget.model.session.fields
    assert widget.model.maps["noisy_or"].values.max() > 0
    if clicks == "–":
        return
    acts = clicks.split(", ")
    assert len(acts) <= 3
    np.savez(tmp_path / "network.npz", **arrays)
    widget._viewer.layers.clear()
    widget.wait()
    widget.canvas.dropped.emit([str(tmp_path / "network.npz")])
    (dialog,) = widget.findChildren(OpenDialog)
    qtbot.waitUntil(dialog.isVisible)
    if len(acts) == 3:
        dialog.form.network.value = acts[1].strip("*")
    qtbot.waitUntil(dialog.opens.isEnabled)
    press(qtbot, dialog.buttons.button(QDialogButtonBox.StandardButton.Open))
    qtbot.waitUntil(lambda: not widget.findChildren(OpenDialog))
    widget.wait()
    assert not wrong(widget)
    by_hand = widget.model.session.fields
    np.testing.assert_allclose(by_hand.confidence, by_code.confidence, rtol=1e-5)
    np.testing.assert_allclose(by_hand.offsets, by_code.offsets, rtol=1e-5, atol=1e-5)
    assert (by_hand.stride, by_hand.origin) == (by_code.stride, by_code.origin)
