"""The tab of all parts: a small map of each, to look at, to search and to choose from."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from napari.utils.colormaps import ensure_colormap
from qtpy.QtCore import QSize, Qt
from qtpy.QtGui import QIcon, QImage, QPixmap
from qtpy.QtWidgets import QLineEdit, QListView, QListWidget, QListWidgetItem, QVBoxLayout, QWidget

from mdn_viewer.core.contrast import backdrop
from mdn_viewer.core.parts import Thumbnails, thumbnails
from mdn_viewer.widgets.common import line

if TYPE_CHECKING:
    from mdn_viewer.canvas.maps import MapView
    from mdn_viewer.core.model import VotingModel
    from mdn_viewer.core.session import VotingSession

__all__ = ["PartsPanel"]

_SIZE, _MARGIN, _TEXT = 104, 6, 34  # screen pixels
_DARK = 0.5  # of the image under a map

# Thumbnails, the colormap, and each map in the colours of its pixels.
Painted = tuple[Thumbnails, str, list[npt.NDArray[np.uint8]]]


class PartsPanel(QWidget):
    """Show the noisy-or map of every part small, with its peak; a click chooses the part.

    Parameters
    ----------
    model : VotingModel
        Whose maps.
    maps : MapView
        Whose colormap.
    """

    title = "Parts"

    def __init__(self, model: VotingModel, maps: MapView) -> None:
        super().__init__()
        self._model, self._maps = model, maps
        self._worker = model.worker(self._show, model.refuse)
        self.shown: Thumbnails | None = None
        self._colours = ""  # the colormap that they are painted with
        self.filter = QLineEdit()
        self.filter.setPlaceholderText("filter by name")
        self.filter.setClearButtonEnabled(True)
        self.filter.textChanged.connect(self._filter)
        self.list = QListWidget()
        self.list.setViewMode(QListView.ViewMode.IconMode)
        self.list.setResizeMode(QListView.ResizeMode.Adjust)
        self.list.setMovement(QListView.Movement.Static)
        self.list.setUniformItemSizes(True)
        self.list.setWordWrap(True)
        self.list.setIconSize(QSize(_SIZE, _SIZE))
        self.list.setGridSize(QSize(_SIZE + _MARGIN, _SIZE + _TEXT))
        self.list.setToolTip("Every part's noisy-or map and its peak. Click to look at a part.")
        self.list.currentRowChanged.connect(self._on_chosen)
        self.count = line("How many parts have a name with the text.")
        layout = QVBoxLayout(self)
        layout.addWidget(self.filter)
        layout.addWidget(self.count)
        layout.addWidget(self.list, 1)
        model.settled.connect(self._update)
        model.session_changed.connect(self._on_session)

    def wait(self) -> None:
        """Wait until the maps are those of the session."""
        self._worker.wait()

    def showEvent(self, event: Any) -> None:
        """Catch up with what has changed while the tab was hidden."""
        super().showEvent(event)
        self._update()

    def _on_session(self, session: VotingSession | None) -> None:
        if session is None:
            self._worker.cancel()
            self._show(None)
        else:
            self._choose(session)

    def _update(self, *_: Any) -> None:
        session = self._model.session
        if session is None or not self.isVisible():
            return
        known = self.shown if self.shown is not None and self.shown.serves(session) else None
        colours = self._maps.colormap
        if known is not None and colours == self._colours:
            self._choose(session)
            return

        def paint() -> Painted:
            shown = known or thumbnails(session, _SIZE)
            gray = None if shown.image is None else backdrop(shown.image)
            return shown, colours, [_painted(each, gray, colours) for each in shown.maps]

        self._worker.submit(
            paint,
            session.work * len(session.fields.names),
            "Voting for all parts",
            session.program,
        )

    def _show(self, painted: Painted | None) -> None:
        before = self.shown
        self.shown, self._colours, pictures = painted or (None, "", [])
        shown = self.shown
        names = () if shown is None else shown.names
        self.list.blockSignals(True)
        if before is None or shown is None or before.names != names:
            self.list.clear()
            for _ in names:
                self.list.addItem(QListWidgetItem())
        if shown is not None:
            metrics, middle = self.list.fontMetrics(), Qt.TextElideMode.ElideMiddle
            for n, (name, peak) in enumerate(zip(names, shown.peaks, strict=True)):
                item = self.list.item(n)
                assert item is not None
                item.setText(f"{metrics.elidedText(name, middle, _SIZE)}\n{peak:.3g}")
                item.setToolTip(name)
                item.setIcon(_icon(pictures[n]))
        self.list.blockSignals(False)
        self._filter()
        if self._model.session is not None:
            self._choose(self._model.session)

    def _choose(self, session: VotingSession) -> None:
        """Mark the part that is looked at."""
        if isinstance(session.part, int) and session.part < self.list.count():
            self.list.blockSignals(True)
            self.list.setCurrentRow(session.part)
            self.list.blockSignals(False)

    def _filter(self, *_: Any) -> None:
        text, seen = self.filter.text().casefold(), 0
        for n, name in enumerate(() if self.shown is None else self.shown.names):
            item = self.list.item(n)
            assert item is not None
            fits = text in name.casefold()
            item.setHidden(not fits)
            seen += fits
        total = self.list.count()
        self.count.setText(f"{seen} of {total} parts" if text else f"{total} parts")

    def _on_chosen(self, part: int) -> None:
        if part >= 0:
            self._model.change(part=part, cross=False)


def _painted(
    values: npt.NDArray[Any], gray: npt.NDArray[np.float32] | None, colormap: str
) -> npt.NDArray[np.uint8]:
    """Return a map over the image, as the canvas has it, in the colours of pixels."""
    colours = ensure_colormap(colormap).map(np.clip(values, 0, 1))[..., :3]
    colours = colours.reshape(*values.shape, 3)
    if gray is not None:
        colours = colours + _DARK * gray[..., None]
    pixels: npt.NDArray[np.uint8] = (np.clip(colours, 0, 1) * 255).astype(np.uint8)
    return pixels


def _icon(pixels: npt.NDArray[np.uint8]) -> QIcon:
    height, width = pixels.shape[:2]
    image = QImage(pixels.tobytes(), width, height, 3 * width, QImage.Format.Format_RGB888)
    scaled = QPixmap.fromImage(image).scaled(
        _SIZE, _SIZE, Qt.AspectRatioMode.KeepAspectRatio, Qt.TransformationMode.SmoothTransformation
    )
    return QIcon(scaled)
