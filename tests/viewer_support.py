"""What the tests of the viewer share: fields that are quickly voted on, windows, a real mouse."""

import os
import subprocess
from typing import Any

# A widget that touches the viewer from another thread is an error.
os.environ.setdefault("NAPARI_ENSURE_PLUGIN_MAIN_THREAD", "1")

import numpy as np
from mdn_viewer.layers import layer_data
from mdn_viewer.session import RULES, VotingSession
from napari.settings import get_settings

import mdn_cupy as mdn

get_settings(path=None)  # napari's own defaults: nothing of the user's is read, nothing written

PLUGIN, WIDGET = "mdn-cupy", "Mass displacement"
BLOCK = ["image (noisy-or)", "noisy-or", "image (additive)", "additive"]  # the maps' layers


def two_parts(**changes: Any) -> mdn.Fields:
    """Two parts on a 6 × 8 grid of stride 4; every source of a part votes for one point.

    Part "left" votes for row 10, column 5; "right" for row 12, column 20.
    """
    rows, columns = 2.0 + 4 * np.mgrid[:6, :8]
    targets = np.array([[5.0, 10.0], [20.0, 12.0]])  # x, y
    offsets = targets[:, :, None, None] - np.stack([columns, rows])
    confidence = np.full((2, 6, 8), 0.3)
    keywords: dict[str, Any] = {
        "confidence": confidence.astype(np.float32),
        "offsets": offsets.astype(np.float32),
        "image": np.random.default_rng(0).integers(0, 255, (24, 32, 3)).astype(np.uint8),
        "stride": 4.0,
        "origin": 2.0,
        "sigma": 2.0,
        "names": ("left", "right"),
        "source": "tests",
    }
    return mdn.Fields(**{**keywords, **changes})


def add_fields(viewer: Any, fields: mdn.Fields, name: str = "two", part: Any = 0) -> None:
    """Add the layers of a field set as napari does when it opens a file."""
    for data, keywords, _ in layer_data(fields, name, part):
        viewer.add_image(data, **keywords)


def dock(viewer: Any) -> Any:
    """Open the dock widget through napari's own menu machinery, and wait for its maps."""
    widget = viewer.window.add_plugin_dock_widget(PLUGIN, WIDGET)[1]
    widget.wait()
    return widget


def peaks(widget: Any) -> dict[str, str]:
    """What the panel says of the peaks."""
    return {rule: label.value for rule, label in widget.peaks.items()}


def maps(viewer: Any) -> dict[str, np.ndarray]:
    """Copies of what the viewer shows: the maps themselves are written in place."""
    return {rule: np.array(viewer.layers[rule].data) for rule in RULES}


def names(viewer: Any) -> list[str]:
    """The layers of a viewer, from the bottom up."""
    return [layer.name for layer in viewer.layers]


def assert_shows(viewer: Any, fields: mdn.Fields, part: Any, sigma: float) -> None:
    """Check that the maps are the votes for a part."""
    expected = VotingSession(fields, part, sigma).vote()
    for rule, values in maps(viewer).items():
        np.testing.assert_allclose(values, expected[rule].values, atol=1e-6)


def wrong(widget: Any) -> str:
    """What the panel says in red."""
    return widget.message.value if "color" in widget.message.value else ""


def drag(qtbot: Any, slider: Any, *values: float) -> None:
    """Drag the handle of a slider to each of some values in turn, with the X server's own mouse.

    `values` are the slider's own: integers. Waits for the slider after each.
    """
    from qtpy.QtWidgets import QStyle, QStyleOptionSlider

    def handle(value: float) -> tuple[int, int]:
        option = QStyleOptionSlider()
        slider.initStyleOption(option)
        option.sliderPosition = option.sliderValue = int(value)
        part = QStyle.SubControl.SC_SliderHandle
        control = QStyle.ComplexControl.CC_Slider
        centre = slider.style().subControlRect(control, option, part, slider).center()
        point = slider.mapToGlobal(centre)
        return point.x(), point.y()

    _onto_the_screen(slider)
    x, y = handle(slider.value())
    _mouse("mousemove", x, y)
    _mouse("mousedown", 1)
    qtbot.waitUntil(slider.isSliderDown)
    for value in values:
        before, (to_x, _) = slider.value(), handle(value)
        _mouse("mousemove", to_x, y)
        qtbot.waitUntil(lambda before=before: slider.value() != before)
    _mouse("mouseup", 1)
    qtbot.waitUntil(lambda: not slider.isSliderDown())


def _onto_the_screen(widget: Any) -> None:
    window, screen = widget.window(), widget.screen().geometry()
    beyond = widget.mapToGlobal(widget.rect().bottomRight()) - screen.bottomRight()
    window.move(window.pos().x() - max(0, beyond.x()), window.pos().y() - max(0, beyond.y()))


def _mouse(*command: Any) -> None:
    subprocess.run(["xdotool", *map(str, command)], check=True)
