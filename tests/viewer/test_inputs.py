"""What people put in by hand: widths by key and mouse, a wheel that scrolls."""

import math

import napari
import numpy as np
import pytest
from mdn_viewer.core.code_export import snippet
from mdn_viewer.core.session import ALL, VotingSession, title
from mdn_viewer.widgets.common import line
from mdn_viewer.widgets.controls import Controls, Message
from mdn_viewer.widgets.voters import VotersPanel
from qtpy.QtCore import QPoint, QPointF, Qt
from qtpy.QtGui import QWheelEvent
from qtpy.QtWidgets import QAbstractSpinBox, QApplication, QComboBox, QDoubleSpinBox, QSlider
from viewer_support import (
    SHOWN,
    add_fields,
    dock,
    drag,
    mouse,
    onto_the_screen,
    press,
    two_parts,
    wrong,
)

# The width, without a window.


@pytest.fixture
def controls(qtbot):
    controls = Controls()
    qtbot.addWidget(controls.native)
    controls.slider = controls.sigma.native.findChild(QSlider)
    controls.number = controls.sigma.native.findChild(QDoubleSpinBox)
    controls.heard = []
    controls.sigma.changed.connect(controls.heard.append)
    return controls


@pytest.mark.parametrize("stride", [4.0, 100.0, 1e5])
def test_keys_go_a_tenth_of_a_pixel_and_pages_a_whole_one(controls, qtbot, stride):
    session = VotingSession(two_parts(stride=stride), 0, 2.0)
    controls.follow(session)
    for key, sigma in (
        ("Right", 2.1),
        ("Up", 2.2),
        ("Left", 2.1),
        ("PageUp", 3.1),
        ("PageDown", 2.1),
        ("Home", 0.3),
        ("End", session.sigma_limits[1]),
    ):
        qtbot.keyClick(controls.slider, getattr(Qt.Key, f"Key_{key}"))
        assert controls.heard[-1] == controls.sigma.value == sigma
    for sigma in (2.1, min(14.5, session.sigma_limits[1])):
        controls.sigma.value = sigma
        qtbot.keyClick(controls.number, Qt.Key.Key_Down)
        assert controls.heard[-1] == controls.sigma.value == round(sigma - 0.1, 2)


def test_whoever_moves_the_slider_gets_hundredths(controls):
    controls.follow(VotingSession(two_parts(stride=16.0), 0, 2.0))
    for position in np.random.default_rng(0).integers(300_000, 24_000_000, 200).tolist():
        controls.slider.setValue(position)
        (sigma,) = set(controls.heard[-1:])
        assert sigma == controls.sigma.value == round(sigma, 2)
        assert abs(sigma - position / 1e6) <= 0.00501
        assert controls.number.value() == pytest.approx(sigma, abs=0.0101)
    for sigma in (2.01, 4.02, 8.03):  # whose millionths are no whole number
        controls.number.setValue(sigma)
        controls.number.editingFinished.emit()
        assert controls.heard[-1] == controls.sigma.value == sigma


@pytest.mark.parametrize("sigma", [math.pi, 0.0123456789, 30.1234567890123, 40.06])
def test_a_width_that_is_set_keeps_its_digits(controls, sigma):
    controls.follow(VotingSession(two_parts(), 0, sigma))
    assert controls.sigma.value == sigma
    assert controls.heard == []
    controls.number.editingFinished.emit()  # as when one clicks into the number, and elsewhere
    assert controls.sigma.value == sigma
    assert set(controls.heard) <= {sigma}


# Names.


@pytest.mark.parametrize("text", ["<b>bold</b>", "a<br>b", "<img src=x>", "&lt;", "5 < 6 > 4"])
def test_what_looks_like_html_is_shown_as_it_is(qtbot, text):
    label, message = line(""), Message("")
    for shown in (label, message.native):
        qtbot.addWidget(shown)
        shown.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        shown.setWordWrap(False)
        shown.show()
    label.setText(text)
    message.say(text)
    for shown in (label, message.native):
        shown.setSelection(0, len(text))
        assert shown.selectedText() == text
    message.say(text, wrong=True)
    message.native.setSelection(0, len(text))
    assert message.native.selectedText() == text


# In a real window, with a real mouse.


@pytest.fixture
def widget(make_napari_viewer):
    viewer = make_napari_viewer(show=True)
    viewer.window.resize(1400, 850)
    add_fields(viewer, two_parts(names=("<b>left</b>", "<i>right</i>")))
    return dock(viewer)


@pytest.mark.slow
def test_sigma_by_the_wheel_the_groove_and_a_drag(widget, qtbot):
    sigma = widget.controls.sigma
    slider = sigma.native.findChild(QSlider)
    onto_the_screen(slider)

    def at(share):
        place = slider.mapToGlobal(
            QPoint(round(share * (slider.width() - 1)), slider.height() // 2)
        )
        mouse("mousemove", place.x(), place.y())
        qtbot.wait(50)

    at(0.5)
    mouse("click", 4)
    qtbot.waitUntil(lambda: sigma.value != 2)
    assert sigma.value == widget.model.session.sigma == 2.3  # three steps, as everywhere in Qt
    at(0.98)
    mouse("mousedown", 1)
    qtbot.waitUntil(lambda: sigma.value != 2.3)
    mouse("mouseup", 1)
    page = widget.model.session.sigma - 2.3
    assert page == pytest.approx(round(page))  # it goes on while the button is down
    assert page >= 1
    drag(qtbot, slider, slider.maximum() // 2, slider.maximum() // 3)
    widget.wait()
    dragged = widget.model.session.sigma
    assert dragged == round(dragged, 2)
    assert f"sigma={dragged})" in snippet(widget.model.session, ("noisy_or",), None)


@pytest.mark.slow
@pytest.mark.parametrize("typed", ["60", "1234.5", "0.004", "2.1357", "24", "1000000000"])
def test_any_width_may_be_typed_and_the_slider_stretches(widget, qtbot, typed):
    sigma = widget.controls.sigma
    number, slider = sigma.native.findChild(QDoubleSpinBox), sigma.native.findChild(QSlider)
    press(qtbot, number.lineEdit())
    qtbot.waitUntil(number.hasFocus)
    mouse("key", "ctrl+a")
    mouse("type", typed)
    mouse("key", "Return")
    qtbot.waitUntil(lambda: widget.model.session.sigma == float(typed))
    widget.wait()
    assert sigma.value == float(typed)
    assert sigma.limits[0] <= sigma.value <= sigma.limits[1]
    assert slider.minimum() <= slider.value() <= slider.maximum()
    assert float(number.text()) == pytest.approx(float(typed), rel=2e-4)
    assert not wrong(widget)
    mouse("key", "Return")  # what is shown stands for it
    low, high = sigma.limits
    widget.controls.sigma.value = 3.21
    widget.wait()
    assert sigma.limits == (low, high)  # or it would move under the mouse
    assert sigma.value == widget.model.session.sigma == 3.21
    add_fields(napari.current_viewer(), two_parts(sigma=5.0), "other")
    widget.wait()
    assert sigma.limits == (0.3, 15)
    assert slider.maximum() == 15_000_000


@pytest.mark.slow
@pytest.mark.parametrize("typed", ["0", "-3", "", "nan"])
def test_what_is_no_width_is_not_taken(widget, qtbot, typed):
    number = widget.controls.sigma.native.findChild(QDoubleSpinBox)
    press(qtbot, number.lineEdit())
    qtbot.waitUntil(number.hasFocus)
    mouse("key", "ctrl+a")
    mouse("key", "Delete")
    mouse("type", "--", typed or " ")
    mouse("key", "Return")
    qtbot.wait(100)
    widget.wait()
    sigma = widget.model.session.sigma
    assert sigma > 0
    assert float(number.text()) == widget.controls.sigma.value == sigma


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["bytes", "logits"])
def test_one_button_makes_confidences(widget, qtbot, kind):
    viewer, fields = napari.current_viewer(), two_parts()
    wanted = fields.confidence
    data = {
        "bytes": np.round(wanted * 255).astype(np.uint8),
        "logits": np.log(wanted / (1 - wanted)),
    }
    viewer.layers["two confidence"].data = data[kind]
    widget.wait()
    button, complaint = widget.controls.remedy, wrong(widget)
    assert {"bytes": "holds uint8", "logits": "outside [0, 1]"}[kind] in complaint
    assert button.text.endswith(": two confidence")
    press(qtbot, button.native)
    qtbot.waitUntil(lambda: not button.visible)
    widget.wait()
    assert not wrong(widget)
    assert {*widget.canvas.cells} == {*map(title, SHOWN)}
    np.testing.assert_allclose(widget.model.session.fields.confidence, wanted, atol=0.003)


def turn(box):
    """Turn the wheel over a box, or over what is in it, as Qt tells it."""
    middle = QPointF(box.rect().center())
    QApplication.sendEvent(
        box,
        QWheelEvent(
            middle,
            QPointF(box.mapToGlobal(box.rect().center())),
            QPoint(0, -120),
            QPoint(0, -120),
            Qt.MouseButton.NoButton,
            Qt.KeyboardModifier.NoModifier,
            Qt.ScrollPhase.NoScrollPhase,
            False,
        ),
    )


@pytest.mark.slow
def test_the_wheel_scrolls_a_tab_and_changes_nothing_on_it(widget, qtbot):
    boxes = widget.tabs.findChildren(QComboBox) + widget.tabs.findChildren(QAbstractSpinBox)
    assert len(boxes) >= 14

    def values():
        return [b.currentText() if isinstance(b, QComboBox) else b.text() for b in boxes]

    before = values()
    for box in boxes:
        turn(box)
    assert values() == before
    assert not wrong(widget)

    widget.window().resize(1400, 500)
    widget.open_tab("Fields")
    bar, box = widget.tabs.currentWidget().verticalScrollBar(), widget.inputs.confidence.native
    qtbot.waitUntil(lambda: bar.maximum() > 0)
    qtbot.wait(50)
    onto_the_screen(box)
    place = box.mapToGlobal(box.rect().center())
    mouse("mousemove", place.x(), place.y())
    mouse("click", 5)
    qtbot.waitUntil(lambda: bar.value() > 0)
    assert values() == before


@pytest.mark.slow
def test_a_box_that_was_clicked_into_is_turned(widget, qtbot):
    widget.open_tab("Compare")
    box = widget.compare.truncate
    press(qtbot, box.lineEdit())
    qtbot.waitUntil(box.hasFocus)
    mouse("click", 5)
    qtbot.waitUntil(lambda: box.value() == 3.5)


@pytest.mark.slow
def test_names_of_parts_are_no_html(widget):
    panel = widget.panel(VotersPanel)
    widget.open_tab("Voters")
    widget.controls.part.value = ALL
    widget.model.ask_pixel((10, 5))
    widget.model.ask_source((1, 1, 1))
    widget.wait()
    panel.wait()
    panel.where.setSelection(0, 12)
    assert panel.where.selectedText() == "<i>right</i>"
    lines = panel.findChildren(type(panel.where))
    (support,) = (each for each in lines if each.text().startswith("by part"))
    support.setSelection(0, len(support.text()))
    assert support.selectedText().startswith("by part: <b>left</b> ")


def test_a_message_moves_no_row_of_the_fields(widget, qtbot):
    """What it takes of the panel's height was shared by all rows."""
    widget.window().resize(1500, 950)
    widget.open_tab("Fields")
    row = widget.inputs.sigmoid.native
    qtbot.wait(100)
    tabs, place = widget.tabs.height(), row.mapToGlobal(QPoint())
    widget.model.say("a message that takes some lines. " * 10)
    qtbot.waitUntil(lambda: widget.tabs.height() < tabs)
    assert row.mapToGlobal(QPoint()) == place
