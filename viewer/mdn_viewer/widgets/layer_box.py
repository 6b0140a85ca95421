"""A box to choose one of the layers of a viewer from."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from qtpy.QtCore import QSignalBlocker, Signal  # type: ignore[attr-defined]
from qtpy.QtWidgets import QComboBox

__all__ = ["LayerBox"]

_NONE = "(none)"


class LayerBox(QComboBox):
    """Offers layers, or what else has a name, and none of them.

    What is chosen stays so, under whatever name, as long as it is offered.

    Parameters
    ----------
    offered : callable
        Returns what there is to choose from.
    tooltip : str
        What the choice is of.
    """

    chosen = Signal()  # another one, or none, since the one that was may be gone
    edited = Signal()  # the data of the layer that is chosen

    def __init__(self, offered: Callable[[], list[Any]], tooltip: str) -> None:
        super().__init__()
        self._offered = offered
        self._values: list[Any] = [None]
        self._watched: Any = None  # the layer whose data are followed
        self.setToolTip(tooltip)
        self.reset_choices()
        self.currentIndexChanged.connect(self._on_chosen)

    @property
    def value(self) -> Any:
        """What is chosen, or None."""
        return self._values[max(0, self.currentIndex())]

    @value.setter
    def value(self, value: Any) -> None:
        self.setCurrentIndex(self._values.index(value))

    def reset_choices(self) -> None:
        """Offer what there is now."""
        before = self.value
        self._values = [None, *self._offered()]
        with QSignalBlocker(self):
            self.clear()
            self.addItems([_NONE, *(each.name for each in self._values[1:])])
            if before in self._values:
                self.value = before
        if self.value != before:
            self._on_chosen()

    def leave(self) -> None:
        """Follow no layer any longer."""
        self._watch(None)

    def _on_chosen(self, *_: Any) -> None:
        self._watch(self.value)
        self.chosen.emit()

    def _watch(self, value: Any) -> None:
        for layer, connect in ((self._watched, "disconnect"), (value, "connect")):
            if hasattr(layer, "events"):
                getattr(layer.events.data, connect)(self._on_data)
        self._watched = value

    def _on_data(self, *_: Any) -> None:
        self.edited.emit()
