"""The dock widget is closed and opened again while a loss is followed."""

import pytest
from mdn_viewer.widgets.gradient import GradientPanel
from qtpy.compat import isalive
from viewer_support import dock

PICTURE = "∂loss/∂c"


@pytest.mark.slow
def test_the_widget_is_closed_and_opened_again_while_it_plays(two, qtbot):
    viewer, widget = two._viewer, two
    panel = widget.panel(GradientPanel)
    panel.controls.add.click()
    widget.wait()
    viewer.layers["target"].add([[14, 8]])
    panel.wait()
    panel.controls.play.click()
    viewer.window.remove_dock_widget(widget)
    assert not panel.playing
    again = dock(viewer)
    assert again is not widget
    qtbot.waitUntil(lambda: not isalive(panel))
    again.wait()
    assert PICTURE not in again.canvas.cells
    assert viewer.layers["target"].data.tolist() == [[14, 8]]
    again.panel(GradientPanel).controls.target.value = viewer.layers["target"]
    again.panel(GradientPanel).wait()
    assert PICTURE in again.canvas.cells
