"""Files that are dragged onto the maps, by the X server's own drag and drop."""

import subprocess

from qtpy.QtCore import QMimeData, QPoint, Qt, QUrl
from qtpy.QtGui import QDrag
from qtpy.QtWidgets import QLabel
from viewer_support import dock, two_parts

import mdn_cupy as mdn


class Source(QLabel):
    """A small window, such as a file manager's, whose files can be dragged away."""

    def __init__(self, *paths):
        super().__init__("files")
        self.paths, self.taken = paths, None
        self.setWindowFlags(Qt.WindowType.FramelessWindowHint)
        self.setGeometry(1300, 880, 80, 30)
        self.show()

    def mousePressEvent(self, event):
        data = QMimeData()
        data.setUrls([QUrl.fromLocalFile(str(path)) for path in self.paths])
        drag = QDrag(self)
        drag.setMimeData(data)
        self.taken = drag.exec(Qt.DropAction.CopyAction)


def drag_and_drop(qtbot, source, target):
    """Drag from the middle of a window to that of another, and let go."""
    begin, end = (w.mapToGlobal(w.rect().center()) for w in (source, target))
    script = ["mousemove", str(begin.x()), str(begin.y()), "sleep", "0.2", "mousedown", "1"]
    for step in range(1, 11):
        at = begin + (end - begin) * step / 10
        script += ["sleep", "0.1", "mousemove", str(at.x()), str(at.y())]
    script += ["sleep", "0.3", "mouseup", "1"]
    process = subprocess.Popen(["xdotool", *script])
    qtbot.waitUntil(lambda: process.poll() is not None, timeout=30000)
    assert process.returncode == 0
    qtbot.waitUntil(lambda: source.taken is not None, timeout=30000)


def test_a_file_is_dragged_onto_the_maps(make_napari_viewer, qtbot, tmp_path):
    viewer = make_napari_viewer(show=True)
    viewer.window.resize(1200, 800)
    viewer.window._qt_window.move(QPoint(0, 0))
    widget = dock(viewer)
    mdn.save_fields(tmp_path / "dragged.mdn", two_parts())
    source = Source(tmp_path / "dragged.mdn")
    qtbot.addWidget(source)
    qtbot.waitExposed(source)
    drag_and_drop(qtbot, source, widget.canvas.native)
    qtbot.waitUntil(lambda: len(viewer.layers) == 3, timeout=30000)
    widget.wait()
    assert source.taken == Qt.DropAction.CopyAction
    assert widget.model.origin.paths == (str(tmp_path / "dragged.mdn"),)
    assert widget.model.maps["noisy_or"].peak.row == 10
