"""What the tests of the viewer share: fields that are quickly voted on, windows, a real mouse."""

import gc
import os
import subprocess
from collections.abc import Collection
from typing import Any

# A widget that touches the viewer from another thread is an error.
os.environ.setdefault("NAPARI_ENSURE_PLUGIN_MAIN_THREAD", "1")
# napari's own defaults: nothing of the user's is read, nothing written.
os.environ["NAPARI_CONFIG"] = ""

import numpy as np
from mdn_viewer import settings
from mdn_viewer.core.opened import Opened
from mdn_viewer.core.session import RULES, VotingSession, title
from mdn_viewer.layers.conversion import layer_data
from napari.settings import get_plugin_settings, get_settings

import mdn_cupy as mdn

get_settings(path=None)
get_plugin_settings(path_dir=None)

PLUGIN, WIDGET = "mdn-cupy", "Mass displacement"
SHOWN = ("noisy_or", "additive", "difference", "confidence")  # unless others are asked for


def freeze() -> None:
    """Have napari, which collects garbage whenever layers go, look at later objects only."""
    gc.collect()
    gc.freeze()


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


def add_fields(viewer: Any, fields: Any, name: str = "two", part: Any = 0) -> None:
    """Add the layers of a field set as napari does when it opens a file."""
    frames = [fields] if isinstance(fields, mdn.Fields) else fields
    for data, keywords, _ in layer_data(Opened(frames, part=part), name):
        viewer.add_image(data, **keywords)


def remember_defaults(shown: Collection[str] = SHOWN) -> None:
    """Have the plugin's settings as they are at first, but for the maps that are shown."""
    settings.remember_shown(set(shown))
    settings.remember("colormap", "inferno")
    settings.remember("sigma", 2.0)
    get_plugin_settings("mdn-cupy").files.readings = "{}"


def dock(viewer: Any) -> Any:
    """Open the dock widget through napari's own menu machinery, and wait for its maps."""
    widget = viewer.window.add_plugin_dock_widget(PLUGIN, WIDGET)[1]
    widget.wait()
    return widget


def peaks(widget: Any) -> dict[str, str]:
    """What the panel says of the peaks of both rules: value and place."""
    figures = {rule: [label.text() for label in widget.compare.figures[rule]] for rule in RULES}
    return {rule: f"{value} at {place}" for rule, (value, place, _) in figures.items()}


def pictures(widget: Any) -> dict[str, np.ndarray]:
    """Copies of what the cells show, by their names."""
    return {name: np.array(cell.picture.values) for name, cell in widget.canvas.cells.items()}


def names(viewer: Any) -> list[str]:
    """The layers of a viewer, from the bottom up."""
    return [layer.name for layer in viewer.layers]


def assert_shows(widget: Any, fields: mdn.Fields, part: Any, sigma: float) -> None:
    """Check that the cells show the votes for a part."""
    expected, shown = VotingSession(fields, part, sigma).vote(), pictures(widget)
    for rule in RULES:
        np.testing.assert_allclose(shown[title(rule)], expected[rule].values, atol=1e-6)


def wrong(widget: Any) -> str:
    """What the panel says in red."""
    message = widget.controls.message
    return message.said if message.wrong else ""


def cell_pixel(widget: Any, cell: str, row: float, column: float) -> tuple[int, int]:
    """The place on the screen (x, y) of a pixel of the output, in one cell."""
    point = widget.canvas.screen_position(cell, row, column)
    return point.x(), point.y()


def click(qtbot: Any, widget: Any, cell: str, row: float, column: float, *keys: str) -> None:
    """Click on a pixel of the output in one cell, with the X server's own mouse.

    `keys` are held down meanwhile, by their names for xdotool: "shift".
    """
    from qtpy.QtWidgets import QApplication

    QApplication.setDoubleClickInterval(1)  # two clicks are two
    move_to(qtbot, widget, cell, row, column)
    for key in keys:
        mouse("keydown", key)
    mouse("mousedown", 1)
    qtbot.wait(50)
    mouse("mouseup", 1)
    for key in keys:
        mouse("keyup", key)
    qtbot.wait(50)


def move_to(qtbot: Any, widget: Any, cell: str, row: float, column: float) -> None:
    """Move the mouse onto a pixel of the output in one cell."""
    qtbot.waitUntil(lambda: cell in widget.canvas.cells, timeout=60000)
    qtbot.wait(50)  # the layout of the window comes to rest
    widget.canvas.window().activateWindow()
    onto_the_screen(widget.canvas)
    x, y = cell_pixel(widget, cell, row, column)
    mouse("mousemove", x - 3, y - 3)
    qtbot.wait(20)
    mouse("mousemove", x, y)
    qtbot.wait(50)


def drop(widget: Any, *paths: Any) -> None:
    """Drop files on the maps, by Qt's own events."""
    from qtpy.QtCore import QMimeData, QPointF, Qt, QUrl
    from qtpy.QtGui import QDragEnterEvent, QDropEvent
    from qtpy.QtWidgets import QApplication

    data = QMimeData()
    data.setUrls([QUrl.fromLocalFile(str(path)) for path in paths])
    place, copy = QPointF(20, 20), Qt.DropAction.CopyAction
    hands = (Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier)
    enter = QDragEnterEvent(place.toPoint(), copy, data, *hands)
    QApplication.sendEvent(widget.canvas, enter)
    assert enter.isAccepted()
    QApplication.sendEvent(widget.canvas, QDropEvent(place, copy, data, *hands))
    widget.wait()


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

    onto_the_screen(slider)
    x, y = handle(slider.value())
    mouse("mousemove", x, y)
    mouse("mousedown", 1)
    qtbot.waitUntil(slider.isSliderDown)
    for value in values:
        before, (to_x, _) = slider.value(), handle(value)
        mouse("mousemove", to_x, y)
        qtbot.waitUntil(lambda before=before: slider.value() != before)
    mouse("mouseup", 1)
    qtbot.waitUntil(lambda: not slider.isSliderDown())


def name_file(qtbot: Any, panel: Any, path: Any) -> None:
    """Give the dialog that a panel has opened a name, and wait until it has gone."""
    from qtpy.QtCore import Qt
    from qtpy.QtWidgets import QFileDialog, QLineEdit

    (dialog,) = panel.findChildren(QFileDialog)
    qtbot.waitUntil(dialog.isVisible, timeout=30000)
    line = dialog.findChild(QLineEdit)

    def paste() -> bool:
        """Until it stays: the dialog fills in its own suggestion some time after it has opened."""
        if line.text() == str(path):
            return True
        line.selectAll()
        line.insert(str(path))
        qtbot.wait(100)
        return False

    qtbot.waitUntil(paste, timeout=30000)
    qtbot.keyClick(line, Qt.Key.Key_Return)
    qtbot.waitUntil(lambda: panel.findChildren(QFileDialog) == [], timeout=30000)


def onto_the_screen(widget: Any) -> None:
    window, screen = widget.window(), widget.screen().geometry()
    beyond = widget.mapToGlobal(widget.rect().bottomRight()) - screen.bottomRight()
    window.move(window.pos().x() - max(0, beyond.x()), window.pos().y() - max(0, beyond.y()))


def mouse(*command: Any) -> None:
    subprocess.run(["xdotool", *map(str, command)], check=True)


def press(qtbot: Any, button: Any) -> None:
    """Press a button, or whatever a widget has in its middle, with the X server's own mouse."""
    from qtpy.QtWidgets import QApplication

    button.window().activateWindow()
    onto_the_screen(button.window())
    qtbot.waitUntil(lambda: button.isVisible() and button.isEnabled())
    middle = under_the_mouse = None
    while middle is None or middle != under_the_mouse:  # until the layout has come to rest
        under_the_mouse = button.mapToGlobal(button.rect().center())
        mouse("mousemove", under_the_mouse.x(), under_the_mouse.y())
        qtbot.wait(100)
        middle = button.mapToGlobal(button.rect().center())
    found = QApplication.widgetAt(middle)
    assert found is button or button.isAncestorOf(found), f"{found} lies over {button}"
    mouse("mousedown", 1)
    qtbot.wait(30)
    mouse("mouseup", 1)
    qtbot.wait(30)
