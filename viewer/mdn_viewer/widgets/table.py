"""A table of arrays, of any length, sorted by any column."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from qtpy.QtCore import QAbstractTableModel, QModelIndex, Qt, Signal  # type: ignore[attr-defined]
from qtpy.QtWidgets import QAbstractItemView, QTableView

__all__ = ["ArrayTable", "Column", "TableView"]

_ROW_HEIGHT, _NARROWEST, _MARGIN = 20, 24, 5  # screen pixels
_WIDEST = 120  # of a text: numbers are to be seen beside it
_CLOSE = "QHeaderView::section, QTableView::item { padding: 0 1px; margin: 0 }"

Arrays = Mapping[str, npt.NDArray[Any]]


class Column(NamedTuple):
    """What a column is called, how its numbers are written, and what it means."""

    title: str
    form: str
    meaning: str


class ArrayTable(QAbstractTableModel):
    """Give Qt what it asks for of columns of equal length.

    Parameters
    ----------
    parent : QObject
        The owner.
    columns : mapping of Column
        What columns there may be, by name.
    """

    def __init__(self, parent: Any, columns: Mapping[str, Column]) -> None:
        super().__init__(parent)
        self.known = columns
        self._columns: dict[str, npt.NDArray[Any]] = {}
        self.order: npt.NDArray[np.intp] = np.zeros(0, np.intp)  # the arrays' rows, as shown

    def show(self, columns: Arrays) -> None:
        """Show other columns, in the order of their rows."""
        self.beginResetModel()
        self._columns = dict(columns)
        self.order = np.arange(len(next(iter(columns.values()), ())))
        self.endResetModel()

    def rowCount(self, parent: QModelIndex | None = None) -> int:
        """Return the number of rows."""
        return len(self.order)

    def columnCount(self, parent: QModelIndex | None = None) -> int:
        """Return the number of columns."""
        return len(self._columns)

    def data(self, index: QModelIndex, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        """Return what Qt asks of a cell."""
        name = [*self._columns][index.column()]
        text = self._columns[name].dtype.kind in "UO"
        if role == Qt.ItemDataRole.DisplayRole or (role == Qt.ItemDataRole.ToolTipRole and text):
            value = self._columns[name][self.order[index.row()]]
            return str(value) if text else format(value, self.known[name].form)
        if role == Qt.ItemDataRole.TextAlignmentRole and not text:
            return int(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
        return None

    def headerData(
        self,
        section: int,
        orientation: Qt.Orientation,
        role: int = Qt.ItemDataRole.DisplayRole,
    ) -> Any:
        """Return what Qt asks of a header."""
        if orientation == Qt.Orientation.Vertical:
            return None
        title, _, meaning = self.known[[*self._columns][section]]
        if role == Qt.ItemDataRole.DisplayRole:
            return title
        return meaning if role == Qt.ItemDataRole.ToolTipRole else None

    def sort(self, column: int, order: Qt.SortOrder = Qt.SortOrder.AscendingOrder) -> None:
        """Sort by a column; what is equal stays in the order of the arrays."""
        if not 0 <= column < len(self._columns):
            return
        values = [*self._columns.values()][column]
        _, ranks = np.unique(values, return_inverse=True)
        descending = order == Qt.SortOrder.DescendingOrder
        self.beginResetModel()
        self.order = np.argsort(-ranks if descending else ranks, kind="stable")
        self.endResetModel()


class TableView(QTableView):
    """A table on the screen.

    Parameters
    ----------
    columns : mapping of Column
        What columns there may be, by name.
    tooltip : str
        What the rows are.
    """

    chosen = Signal(int)  # a row of the arrays

    def __init__(self, columns: Mapping[str, Column], tooltip: str) -> None:
        super().__init__()
        self.rows = ArrayTable(self, columns)
        self.setModel(self.rows)
        self.setToolTip(tooltip)
        self.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
        self.setTabKeyNavigation(False)  # Tab leaves the table
        self.setWordWrap(False)
        self.setTextElideMode(Qt.TextElideMode.ElideMiddle)  # long names differ at their ends
        vertical, self._header = self.verticalHeader(), self.horizontalHeader()
        assert vertical is not None
        assert self._header is not None
        vertical.setDefaultSectionSize(_ROW_HEIGHT)
        vertical.setVisible(False)
        self._header.setMinimumSectionSize(_NARROWEST)
        self.setStyleSheet(_CLOSE)  # all columns fit beside the maps
        self._header.setResizeContentsPrecision(_ROW_HEIGHT)
        self._header.setSortIndicator(-1, Qt.SortOrder.DescendingOrder)  # as they come
        self.setSortingEnabled(True)

    def show_columns(self, columns: Arrays) -> None:
        """Show other rows, sorted as those before."""
        self.rows.show(columns)
        assert self._header is not None
        self.rows.sort(self._header.sortIndicatorSection(), self._header.sortIndicatorOrder())
        for n in range(self.rows.columnCount()):
            title = self.rows.headerData(n, Qt.Orientation.Horizontal)
            heading = self.fontMetrics().horizontalAdvance(title) + _MARGIN
            # Qt's own width leaves room for the arrow of sorting, too.
            self.setColumnWidth(n, max(heading, min(self.sizeHintForColumn(n), _WIDEST)))

    def currentChanged(self, current: QModelIndex, previous: QModelIndex) -> None:
        """Tell which row has been chosen."""
        super().currentChanged(current, previous)
        if 0 <= current.row() < len(self.rows.order):
            self.chosen.emit(int(self.rows.order[current.row()]))
