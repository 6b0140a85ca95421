"""Take the pictures of the viewer that the documentation shows, into docs/images.

Each is checked before it is written: for the votes in its cells, and for the colours of what it is
about. Run it with a display, or with Xvfb:

    xvfb-run -s "-screen 0 1600x1000x24" python docs/make_viewer_screenshots.py [picture ...]
"""

import os
import sys
import tempfile
from pathlib import Path

import numpy as np

IMAGES = Path(__file__).parent / "images"

# Colours, and how many pixels of each a picture has at the least; else it is wrong.
VOTES = {"votes": (200, lambda r, g, b: (r > 230) & (g > 150) & (b < 190))}
ARROWS = {"arrows": (60, lambda r, g, b: (g > 180) & (b > 150) & (r < 170) & (g > r + 60))}
FOOTPRINT = {"footprint": (150, lambda r, g, b: (g > 90) & (g > r + 50) & (g > b + 50))}
LANDING = {"landing": (40, lambda r, g, b: (r > 200) & (b > 200) & (g < 150))}
PULLS = {"arrows": (100, lambda r, g, b: (g > 170) & (g > r + 70) & (g > b + 50))}
TWO_SIGNS = {
    "pushed up": (100, lambda r, g, b: (b > r + 50) & (b > 100)),
    "pulled down": (300, lambda r, g, b: (r > b + 50) & (r > 100)),
}
PEAKS = {"peaks": (100, lambda r, g, b: (r > 200) & (g > 180) & (b < 120))}
TRUTH = {"truth": (40, lambda r, g, b: (g > 200) & (r < 140) & (b < 160))}
CURVES = {"curves": (300, lambda r, g, b: (r > 180) & (r > b + 90) & (g > 80))}
LOSS = {"loss": (100, PULLS["arrows"][1])}


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
    from mdn_viewer.widgets.voters import VotersPanel

    widget.open_tab("Voters")
    widget.model.ask_pixel((95, 166))
    widget.panel(VotersPanel).wait()


def item3_parts(widget):
    """docs/images/viewer-3-parts.png"""
    from mdn_viewer.widgets.voters import VotersPanel

    widget.model.change(part="left shoulder", cross=True)
    widget.wait()
    peak = widget.model.maps["noisy_or"].peak
    widget.open_tab("Voters")
    widget.model.ask_pixel((peak.row, peak.column))
    widget.panel(VotersPanel).wait()


def item4_source(widget):
    """docs/images/viewer-4-source.png"""
    from mdn_viewer.widgets.voters import VotersPanel

    widget.open_tab("Voters")
    widget.model.ask_source((0, 6, 9))
    widget.panel(VotersPanel).wait()


def item5_sweep(widget):
    """docs/images/viewer-5-sweep.png"""
    from mdn_viewer.widgets.sweep import SweepPanel

    widget.open_tab("Sweep")
    panel = widget.panel(SweepPanel)
    panel.wait()  # the sweep
    widget.model.ask_pixel((80, 180))
    panel.wait()  # the pixel's curves


def item6(widget):
    """The gradient towards a target."""
    from mdn_viewer.widgets.gradient import GradientPanel

    widget.open_tab("Gradient")
    panel = widget.panel(GradientPanel)
    panel.controls.add.click()
    click(widget, 150, 220)
    panel.controls.add.click()
    panel.wait()
    widget.wait()


def item6_collapsed(widget):
    """Forty steps later."""
    from mdn_viewer.widgets.gradient import GradientPanel

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


def layers(widget):
    """napari's canvas beside the maps, with a map that was added to its layers."""
    widget.results.add_map("noisy_or")
    widget.compare.napari_canvas.click()


def parts(widget):
    """All parts at a glance."""
    from mdn_viewer.widgets.parts import PartsPanel

    widget.open_tab(PartsPanel.title)
    widget.panel(PartsPanel).wait()


def peaks(widget):
    """The peaks of every part, and the sources of each."""
    from mdn_viewer.widgets.peaks import PeaksPanel

    widget.open_tab(PeaksPanel.title)
    panel = widget.panel(PeaksPanel)
    panel.every_part.setChecked(True)
    panel.sources.setChecked(True)
    panel.wait()


def truth(widget):
    """Annotations, one of which is 18 pixels from its peak."""
    from mdn_viewer.widgets.truth import TruthPanel

    widget.model.change(part="left shoulder")
    widget.wait()
    widget.open_tab(TruthPanel.title)
    panel = widget.panel(TruthPanel)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "truth.csv")
        path.write_text("part,x,y\nnose,166,95\nleft eye,184,77\nleft shoulder,230,190\n")
        panel.open(str(path))
    panel.wait()


def second(widget):
    """The same fields with their confidences halved, and with a sigma of their own, as B."""
    from dataclasses import replace

    from mdn_viewer.core.second import Own
    from mdn_viewer.widgets.second import SecondPanel

    import mdn_cupy as mdn

    fields = widget.model.session.fields
    widget.open_tab(SecondPanel.title)
    panel = widget.panel(SecondPanel)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "earlier epoch.mdn")
        mdn.save_fields(path, replace(fields, confidence=fields.confidence / 2))
        panel.open(str(path))
    panel.show_own(Own(sigma=12.0))
    panel.wait()
    peak = widget.model.maps["noisy_or"].peak
    widget.model.ask_pixel((peak.row, peak.column))
    panel.wait()


def frames(widget):
    """Twelve frames in which the network loses the nose, and the curves over them."""
    from dataclasses import replace

    from mdn_viewer.core.opened import Opened
    from mdn_viewer.layers.conversion import layer_data
    from mdn_viewer.widgets.frames import FramesPanel

    fields = widget.model.session.fields
    clip = [
        replace(fields, confidence=fields.confidence * np.float32(1 - n / 14)) for n in range(12)
    ]
    viewer = widget._viewer
    viewer.layers.clear()
    for data, keywords, _ in layer_data(Opened(clip), "clip"):
        viewer.add_image(data, **keywords)
    widget.wait()
    peak = widget.model.maps["noisy_or"].peak
    widget.model.ask_pixel((peak.row, peak.column))
    widget.controls.frame.value = 5
    widget.open_tab(FramesPanel.title)
    settle(widget)
    widget.panel(FramesPanel).wait()


def dialog(widget):
    """The dialog that a file of DeepLabCut's kind opens."""
    from mdn_viewer.widgets.open_dialog import OpenDialog

    fields = widget.model.session.fields
    c, o = fields.confidence, fields.offsets / np.float32(7.2801)
    path = Path(os.environ["NAPARI_CONFIG"]).parent / "hand.npz"  # read as long as it is open
    locref = o.reshape(-1, *o.shape[-2:])
    np.savez(path, scoremap=c, locref=locref, image=fields.image)
    widget.opener.open([str(path)])
    (asked,) = widget.findChildren(OpenDialog)
    asked.form.network.value = "deeplabcut"
    asked.look()
    return asked


def click(widget, row, column):
    """Click on a pixel of the output in the first cell."""
    from qtpy.QtCore import Qt
    from qtpy.QtTest import QTest

    settle(widget)
    canvas = widget.canvas
    place = canvas.native.mapFromGlobal(canvas.screen_position("noisy-or", row, column))
    QTest.mouseClick(canvas.native, Qt.MouseButton.LeftButton, pos=place)


PICTURES = {  # what to do, what the canvas shows then, and what the panel
    "viewer": (opened, VOTES, {}),
    "viewer-1-fields": (fields, VOTES, {}),
    "viewer-2-compare": (compared, VOTES | TWO_SIGNS, {}),
    "viewer-3-voters": (item3_voters, VOTES | ARROWS, {}),
    "viewer-3-parts": (item3_parts, VOTES | ARROWS, {}),
    "viewer-4-source": (item4_source, VOTES | FOOTPRINT | LANDING, {}),
    "viewer-5-sweep": (item5_sweep, VOTES, CURVES),
    "viewer-6-gradient": (item6, VOTES | PULLS | TWO_SIGNS, {}),
    "viewer-6-collapsed": (item6_collapsed, VOTES | PULLS, LOSS),
    "viewer-7-cross": (item7, VOTES, {}),
    "viewer-8-save": (item8, VOTES, {}),
    "viewer-layers": (layers, VOTES, {}),
    "viewer-parts": (parts, VOTES, VOTES),
    "viewer-peaks": (peaks, PEAKS, {}),
    "viewer-truth": (truth, VOTES | TRUTH, {}),
    "viewer-second": (second, VOTES | TWO_SIGNS, {}),
    "viewer-frames": (frames, VOTES, CURVES),
    "viewer-open": (dialog, VOTES, {}),
}


def make(names) -> int:
    """Take some of the pictures, or all."""
    for name in names or PICTURES:
        take(name, *PICTURES[name])
        print(f"written {IMAGES / name}.png")
    return 0


def take(name, drive, on_canvas, in_panel):
    """Open the pose sample in a window of its own, drive it, look at it, and photograph it."""
    from mdn_viewer import settings, show
    from mdn_viewer.__main__ import write_screenshot

    settings.remember_shown({"noisy_or", "additive", "difference", "confidence"})
    window = show("pose", name="pose", block=False)
    widget = window.widget
    settle(widget)
    alone = drive(widget)  # a window of its own, if that is the picture
    settle(widget)
    check(name, widget.canvas.screenshot(), on_canvas)
    check(name, grabbed(widget), in_panel)
    IMAGES.mkdir(exist_ok=True)
    if alone is None:
        write_screenshot(window.viewer, IMAGES / f"{name}.png")
    else:
        alone.grab().save(str(IMAGES / f"{name}.png"))
    window.close()


def settle(widget):
    """Wait until the slider rests, and until everything is drawn that came of it."""
    from qtpy.QtCore import QEventLoop, QTimer

    widget.wait()
    for _ in range(2):
        loop = QEventLoop()
        QTimer.singleShot(800, loop.quit)
        loop.exec()
        widget.wait()


def grabbed(widget):
    """The pixels of a widget, [H, W, 4]."""
    from qtpy.QtGui import QImage

    image = widget.grab().toImage().convertToFormat(QImage.Format.Format_RGBA8888)
    pixels = np.frombuffer(image.constBits().asarray(image.sizeInBytes()), np.uint8)
    return pixels.reshape(image.height(), -1, 4)[:, : image.width()]


def check(name, pixels, expected):
    """See to it that a picture shows what it is about."""
    red, green, blue = np.moveaxis(pixels[..., :3].astype(int), -1, 0)
    for what, (least, has_colour) in expected.items():
        count = int(has_colour(red, green, blue).sum())
        print(f"{name}: {count} pixels of {what}")
        if count < least:
            raise SystemExit(f"{name}: does not show the {what} ({count} pixels, not {least})")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as settings:
        os.environ["NAPARI_CONFIG"] = str(Path(settings, "settings.yaml"))
        sys.exit(make(sys.argv[1:]))
