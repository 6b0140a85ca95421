"""The voters of a pixel as a table of Qt's: of any length, sorted by any column."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from qtpy.QtCore import QAbstractTableModel, QModelIndex, Qt, Signal  # type: ignore[attr-defined]
from qtpy.QtWidgets import QAbstractItemView, QTableView

from mdn_viewer.core.provenance import Provenance

__all__ = ["VoterTable", "VoterView"]

_MEANINGS = {
    "part": "Whose confidence and offset it is.",
    "row": "Row of the source, on the fields' own grid.",
    "column": "Column of the source, on the fields' own grid.",
    "c": "Confidence of the source.",
    "o_x": "How far to the right its vote goes, in pixels of the output.",
    "o_y": "How far down its vote goes, in pixels of the output.",
    "w": "Weight of its vote at the pixel: 1 where it lands there exactly.",
    "share": "Its share of the pixel's evidence: −L for the noisy-or, s for the additive rule.",
    "evidence": "What it adds to the pixel's evidence: −log(1 − w·c), or its part of the sum s.",
}
_TITLES = {"column": "col"}
_FORMATS = {"c": ".3f", "o_x": ".1f", "o_y": ".1f", "w": ".3f", "share": ".1%", "evidence": ".3g"}
_ROW_HEIGHT, _NARROWEST, _MARGIN = 20, 24, 5  # screen pixels
_CLOSE = "QHeaderView::section, QTableView::item { padding: 0 1px; margin: 0 }"


class VoterTable(QAbstractTableModel):
    """Gives Qt what it asks for of a `Provenance`.

    Parameters
    ----------
    parent : QObject
        Who keeps it.
    """

    def __init__(self, parent: Any) -> None:
        super().__init__(parent)
        self._asked: Provenance | None = None
        self._columns: dict[str, npt.NDArray[Any]] = {}
        self._order: npt.NDArray[np.intp] = np.zeros(0, np.intp)

    def show(self, asked: Provenance | None) -> None:
        """Show other voters, the strongest first, or none."""
        self.beginResetModel()
        self._asked = asked
        self._columns = {} if asked is None else asked.columns
        self._order = np.arange(0 if asked is None else len(asked.voters))
        self.endResetModel()

    def source_at(self, row: int) -> tuple[int, int, int] | None:
        """Return the source (part, row, column) in a row of the table."""
        if self._asked is None or not 0 <= row < len(self._order):
            return None
        n = self._order[row]
        i, j = self._asked.voters.source[n, -2:].tolist()
        return int(self._asked.parts[n]), i, j

    def rowCount(self, parent: QModelIndex | None = None) -> int:
        """How many voters there are."""
        return len(self._order)

    def columnCount(self, parent: QModelIndex | None = None) -> int:
        """How much there is to say of each."""
        return len(self._columns)

    def data(self, index: QModelIndex, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        """Say what Qt asks of a cell."""
        name = [*self._columns][index.column()]
        if role == Qt.ItemDataRole.DisplayRole:
            return _text(name, self._columns[name][self._order[index.row()]])
        if role == Qt.ItemDataRole.TextAlignmentRole and name != "part":
            return int(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
        return None

    def headerData(
        self,
        section: int,
        orientation: Qt.Orientation,
        role: int = Qt.ItemDataRole.DisplayRole,
    ) -> Any:
        """Say what Qt asks of a header."""
        if orientation == Qt.Orientation.Vertical:
            return None
        name = [*self._columns][section]
        if role == Qt.ItemDataRole.DisplayRole:
            return _TITLES.get(name, name)
        return _MEANINGS[name] if role == Qt.ItemDataRole.ToolTipRole else None

    def sort(self, column: int, order: Qt.SortOrder = Qt.SortOrder.AscendingOrder) -> None:
        """Sort by a column; what is equal stays the strongest first."""
        if not 0 <= column < len(self._columns):
            return
        values = [*self._columns.values()][column]
        _, ranks = np.unique(values, return_inverse=True)
        descending = order == Qt.SortOrder.DescendingOrder
        self.beginResetModel()
        self._order = np.argsort(-ranks if descending else ranks, kind="stable")
        self.endResetModel()


class VoterView(QTableView):
    """The table on the screen; says which source is chosen of it."""

    chosen = Signal(object)  # (part, row, column) of a source

    def __init__(self) -> None:
        super().__init__()
        self.voters = VoterTable(self)
        self.setModel(self.voters)
        self.setToolTip(
            "The sources that voted for the pixel. Click on a header to sort, on a row to see "
            "where that vote lands."
        )
        self.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
        self.setTabKeyNavigation(False)  # Tab leaves the table
        rows, self._header = self.verticalHeader(), self.horizontalHeader()
        assert rows is not None
        assert self._header is not None
        rows.setDefaultSectionSize(_ROW_HEIGHT)
        rows.setVisible(False)
        self._header.setMinimumSectionSize(_NARROWEST)
        self.setStyleSheet(_CLOSE)  # all columns fit beside the maps
        self._header.setResizeContentsPrecision(_ROW_HEIGHT)
        self._header.setSortIndicator(-1, Qt.SortOrder.DescendingOrder)  # as they come
        self.setSortingEnabled(True)

    def show_voters(self, asked: Provenance | None) -> None:
        """Show other voters, sorted as those before."""
        self.voters.show(asked)
        assert self._header is not None
        column, order = self._header.sortIndicatorSection(), self._header.sortIndicatorOrder()
        self.voters.sort(column, order)
        for n in range(self.voters.columnCount()):
            title = self.voters.headerData(n, Qt.Orientation.Horizontal)
            heading = self.fontMetrics().horizontalAdvance(title) + _MARGIN
            # Qt's own width leaves room for the arrow of sorting, too.
            self.setColumnWidth(n, max(heading, self.sizeHintForColumn(n)))

    def currentChanged(self, current: QModelIndex, previous: QModelIndex) -> None:
        """Tell which source has been chosen."""
        super().currentChanged(current, previous)
        source = self.voters.source_at(current.row())
        if source is not None:
            self.chosen.emit(source)


def _text(name: str, value: Any) -> str:
    if name == "part" or isinstance(value, np.integer):
        return str(value)
    return format(value, _FORMATS[name])
