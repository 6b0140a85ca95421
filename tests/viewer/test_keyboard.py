"""All of the panel without a mouse: Tab goes through every tab, arrows from one to the next."""

from qtpy.QtCore import Qt
from qtpy.QtWidgets import (
    QAbstractItemView,
    QAbstractSpinBox,
    QApplication,
    QComboBox,
    QLineEdit,
    QPushButton,
)
from viewer_support import mouse, two_parts

KINDS = QPushButton, QComboBox, QAbstractSpinBox, QAbstractItemView, QLineEdit


def to_reach(page):
    """What can be used on a page; boxes and tables have widgets of their own."""
    found = [child for kind in KINDS for child in page.findChildren(kind)]
    return {
        each
        for each in found
        if each.isVisible()
        and each.isEnabled()
        and not (isinstance(each, QLineEdit) and each.isReadOnly())
        and not any(isinstance(above, KINDS) for above in ancestors(each))
    }


def ancestors(widget):
    while (widget := widget.parentWidget()) is not None:
        yield widget


def start(widget, qtbot):
    widget.window().activateWindow()
    widget.controls.part.native.setFocus()
    qtbot.waitUntil(widget.controls.part.native.hasFocus)


def test_the_key_tab_goes_through_every_tab_and_leaves_it(shown, qtbot):
    widget = shown(two_parts())
    tabs = widget.tabs
    for n in range(tabs.count()):
        if tabs.tabText(n) == "Frames":
            continue  # there are none
        tabs.setCurrentIndex(n)
        widget.wait()
        start(widget, qtbot)
        seen = [QApplication.focusWidget()]
        while widget.isAncestorOf(seen[-1]):
            qtbot.keyClick(seen[-1], Qt.Key.Key_Tab)
            assert QApplication.focusWidget() not in seen, seen[-1]
            seen.append(QApplication.focusWidget())
        assert to_reach(tabs.currentWidget()) <= {*seen}
        buttons = [each for each in seen if each.parentWidget() is widget.tab_buttons]
        assert [each.text() for each in buttons] == [tabs.tabText(n)]
        assert all(not each.isReadOnly() for each in seen if isinstance(each, QLineEdit))


def test_arrows_go_from_tab_to_tab(shown, qtbot):
    widget = shown(two_parts())
    start(widget, qtbot)
    widget.tab_buttons.button("Compare").setFocus()
    for key, title in (("Right", "Parts"), ("Down", "Truth"), ("Left", "Voters")):
        mouse("key", key)
        qtbot.waitUntil(
            lambda title=title: widget.tabs.tabText(widget.tabs.currentIndex()) == title
        )
        assert widget.tab_buttons.button(title).hasFocus()
