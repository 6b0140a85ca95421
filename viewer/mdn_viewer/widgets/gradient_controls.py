"""The controls of the gradient: what they are called and explain, not what they do."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from qtpy.QtWidgets import QComboBox, QDoubleSpinBox, QFormLayout, QHBoxLayout, QPushButton

from mdn_viewer.core.losses import Loss
from mdn_viewer.core.optimizer import Descent, Rates
from mdn_viewer.widgets.controls import Message
from mdn_viewer.widgets.layer_box import LayerBox

__all__ = ["GradientControls"]


class GradientControls:
    """A target, a loss and the length of a step; what they come to; and three buttons.

    Parameters
    ----------
    targets : callable
        Returns the layers that may be a target.
    """

    def __init__(self, targets: Callable[[], list[Any]]) -> None:
        self.target = LayerBox(
            targets,
            "Where the votes should go: points, which are blurred, or any image layer, from 0 to "
            "1.",
        )
        self.losses = QComboBox()
        self.add = _button(
            "Add points",
            "While this is pressed, a click on any map adds a point: where the votes should go.",
        )
        self.add.setCheckable(True)
        self.width = _number(
            0.1, 1e4, 2, "How far the points of the target are blurred, in pixels of the output."
        )
        self.losses.addItems([loss.value for loss in Loss])
        self.losses.setToolTip(
            "How a map's difference from the target counts, summed over its pixels."
        )
        usual = Rates()
        self.rate_c = _number(
            0, 1, usual.confidence, "How far a step moves a confidence. 0: it stays."
        )
        self.rate_o = _number(
            0, 10, usual.offsets, "How far a step moves a vote, in widths sigma. 0: it stays."
        )
        self.step = _button(
            "Step", "Move a copy of the fields against the gradient, so that the loss falls."
        )
        self.play = _button("Play", "Take step after step until you stop it, or none helps.")
        self.play.setCheckable(True)
        self.reset = _button("Reset", "Go back to the fields that were opened.")
        self.loss_now = Message("The loss, after how many steps.")
        self.sigma_now = Message("∂loss/∂σ: what another width of the votes would do to the loss.")
        self.message = Message("What to do next, or what does not fit and why.")
        self.form = QFormLayout()
        self.form.setRowWrapPolicy(QFormLayout.RowWrapPolicy.WrapLongRows)
        for box in (self.target, self.losses):  # as narrow as the dock
            box.setSizeAdjustPolicy(
                QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon
            )
            box.setMinimumContentsLength(10)
        for label, widgets in {
            "target": (self.target, self.add),
            "width (px)": (self.width,),
            "loss": (self.losses,),
            "step of c": (self.rate_c,),
            "step of o (sigma)": (self.rate_o,),
        }.items():
            row = QHBoxLayout()
            for widget in widgets:
                row.addWidget(widget, 1 if widget is widgets[0] else 0)
            self.form.addRow(label, row)

    @property
    def loss(self) -> Loss:
        """The loss that is chosen."""
        return list(Loss)[self.losses.currentIndex()]

    @property
    def rates(self) -> tuple[float, float]:
        """How far a step moves confidences and, in widths of a vote, offsets."""
        return self.rate_c.value(), self.rate_o.value()

    def show(self, descent: Descent | None) -> None:
        """Write what a descent has come to."""
        for button in (self.step, self.play):
            button.setEnabled(descent is not None)
        if descent is None:
            self.loss_now.say("")
            self.sigma_now.say("")
            return
        steps, slope = len(descent.losses) - 1, descent.pull.sigma
        since = f" after {steps} step{'s' * (steps != 1)}, from {descent.losses[0]:.5g}"
        rest = "; no step helps any more" if descent.at_rest else ""
        self.loss_now.say(f"loss {descent.pull.loss:.5g}{since if steps else ''}{rest}")
        wants = "narrower" if slope > 0 else "wider"
        self.sigma_now.say(
            f"∂loss/∂σ {slope:+.4g} per px" + (f": {wants} votes would help" if slope else "")
        )


def _button(text: str, tooltip: str) -> QPushButton:
    button = QPushButton(text)
    button.setToolTip(tooltip)
    return button


def _number(low: float, high: float, value: float, tooltip: str) -> QDoubleSpinBox:
    box = QDoubleSpinBox()
    box.setRange(low, high)
    box.setDecimals(3)
    box.setSingleStep(value / 4)
    box.setValue(value)
    box.setToolTip(tooltip)
    return box
