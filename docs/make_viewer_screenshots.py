"""Take the pictures of the viewer that the documentation shows, into docs/images.

Each is checked before it is written: its map cells show votes. Run it with a display, or with one
that nobody sees:

    xvfb-run -s "-screen 0 1600x1000x24" python docs/make_viewer_screenshots.py [picture ...]
"""

import os
import sys
import tempfile
from pathlib import Path

import numpy as np

IMAGES = Path(__file__).parent / "images"
FEWEST_BRIGHT = 200  # pixels in the colours of votes, without which a picture is wrong


def opened(widget):
    """The pose sample as it opens."""


def fields(widget):
    """The inputs."""
    widget.open_tab("Fields")


def compared(widget):
    """All maps."""
    widget.compare.shown["evidence"].setChecked(True)
    widget.wait()


def item3_voters(widget):
    """docs/images/viewer-3-voters.png"""
    from mdn_viewer.panels.voters import VotersPanel

    widget.open_tab("Voters")
    widget.model.ask_pixel((95, 166))
    widget.panel(VotersPanel).wait()


def item3_parts(widget):
    """docs/images/viewer-3-parts.png"""
    from mdn_viewer.panels.voters import VotersPanel

    widget.model.change(part="left shoulder", cross=True)
    widget.wait()
    peak = widget.model.maps["noisy-or"].peak
    widget.open_tab("Voters")
    widget.model.ask_pixel((peak.row, peak.column))
    widget.panel(VotersPanel).wait()


def item4_source(widget):
    """docs/images/viewer-4-source.png"""
    from mdn_viewer.panels.voters import VotersPanel

    widget.open_tab("Voters")
    widget.model.ask_source((0, 6, 9))
    widget.panel(VotersPanel).wait()


def item5_sweep(widget):
    """docs/images/viewer-5-sweep.png"""
    from mdn_viewer.panels.sweep import SweepPanel

    widget.open_tab("Sweep")
    panel = widget.panel(SweepPanel)
    panel.wait()  # the sweep
    widget.model.ask_pixel((80, 180))
    panel.wait()  # the pixel's curves


def item6(widget):
    """The gradient towards a target."""
    from mdn_viewer.panels.gradient import GradientPanel

    widget.open_tab("Gradient")
    panel = widget.panel(GradientPanel)
    panel.controls.add.click()
    widget.wait()
    points = widget.stage.viewer.layers["target"]
    points.add([[150, 220]])
    points.selected_data, points.mode = [], "pan_zoom"
    panel.wait()
    widget.wait()


def item6_collapsed(widget):
    """Forty steps later."""
    from mdn_viewer.panels.gradient import GradientPanel

    item6(widget)
    panel = widget.panel(GradientPanel)
    for _ in range(40):
        panel.controls.step.click()
        panel.wait()
    widget.wait()


def item7(widget):
    """The left elbow, hidden behind the helmet, which all parts vote for."""
    widget.controls.part.value = widget.model.session.fields.part("left elbow")
    widget.controls.cross.value = True
    widget.wait()


def item8(widget):
    """What can be saved."""
    widget.open_tab("Save")


PICTURES = {
    "viewer": opened,
    "viewer-1-fields": fields,
    "viewer-2-compare": compared,
    "viewer-3-voters": item3_voters,
    "viewer-3-parts": item3_parts,
    "viewer-4-source": item4_source,
    "viewer-5-sweep": item5_sweep,
    "viewer-6-gradient": item6,
    "viewer-6-collapsed": item6_collapsed,
    "viewer-7-cross": item7,
    "viewer-8-save": item8,
}


def make(names) -> int:
    """Take some of the pictures, or all."""
    for name in names or PICTURES:
        take(name, PICTURES[name])
        print(f"written {IMAGES / name}.png")
    return 0


def take(name, drive):
    """Open the pose sample in a window of its own, drive it, and photograph it."""
    import napari
    from mdn_viewer import settings
    from mdn_viewer.__main__ import _resize, _write_screenshot
    from napari.layers import Image
    from qtpy.QtCore import QEventLoop, QTimer

    settings.remember_shown({"noisy-or", "additive", "difference", "confidence"})
    viewer = napari.Viewer(title="mdn-viewer: pose")
    _resize(viewer)
    viewer.open_sample("mdn-cupy", "pose")
    widget = viewer.window.add_plugin_dock_widget("mdn-cupy", "Mass displacement")[1]
    widget.wait()
    drive(widget)
    for _ in range(2):  # until the slider rests; until everything is drawn that came of it
        loop = QEventLoop()
        QTimer.singleShot(800, loop.quit)
        loop.exec()
        widget.wait()
    # What is shown, and not how far arrows reach; with the offsets, which have all dimensions.
    viewer.reset_view(layers=[layer for layer in viewer.layers if isinstance(layer, Image)])
    check(name, viewer.screenshot(flash=False))
    IMAGES.mkdir(exist_ok=True)
    _write_screenshot(viewer, IMAGES / f"{name}.png")
    viewer.close()


def check(name, canvas):
    """See to it that the canvas shows votes: the bright end of the maps' colours."""
    red, green, blue = np.moveaxis(canvas[..., :3].astype(int), -1, 0)
    bright = int(((red > 230) & (green > 150) & (blue < 190)).sum())
    if bright < FEWEST_BRIGHT:
        raise SystemExit(f"{name}: shows no votes ({bright} bright pixels)")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as settings:
        os.environ["NAPARI_CONFIG"] = str(Path(settings, "settings.yaml"))
        sys.exit(make(sys.argv[1:]))
