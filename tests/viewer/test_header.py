"""The line above a cell: a name, a colour bar, two numbers."""

import numpy as np
import pytest
from mdn_viewer.canvas.header import HEIGHT, Header
from qtpy.QtGui import QColor, QImage, QPalette
from qtpy.QtWidgets import QWidget

INK, PAPER = (255, 255, 255), (0, 0, 255)


@pytest.fixture
def header(qtbot):
    parent = QWidget()
    qtbot.addWidget(parent)
    palette = parent.palette()
    palette.setColor(QPalette.ColorRole.Window, QColor(*PAPER))
    palette.setColor(QPalette.ColorRole.WindowText, QColor(*INK))
    parent.setPalette(palette)
    parent.header = Header(parent, "noisy-or")  # which the parent keeps
    parent.header.setPalette(palette)  # a style sheet of other tests would hide the parent's
    yield parent.header
    parent.close()


def painted(header, width):
    """What is painted, [rows, columns, 3]."""
    header.resize(width, HEIGHT)
    image = header.grab().toImage().convertToFormat(QImage.Format.Format_RGBA8888)
    bits = image.constBits()
    bits.setsize(image.sizeInBytes())
    return np.frombuffer(bits, np.uint8).reshape(HEIGHT, width, 4)[..., :3].astype(int)


def bar(picture):
    """The columns of the colour bar: in its middle row, what is neither ink nor paper."""
    row = picture[HEIGHT // 2]
    red = (row[:, 0] > row[:, 2]) & (abs(row[:, 0] - row[:, 1]) > 60)  # of inferno's warm half
    return np.flatnonzero(red)


def test_the_bar_goes_from_the_lowest_colour_to_the_highest(header):
    header.show_scale("inferno", (0.0, 0.25))
    assert header.ends == ("0", "0.25")
    picture = painted(header, 400)
    columns = bar(picture)
    assert 20 < len(columns) < 72
    assert columns.min() > 200  # on the right, beyond the name
    colours = picture[HEIGHT // 2, columns].sum(axis=1)
    assert colours[-1] > colours[0]
    assert (picture[0, :100] == PAPER).all()


def test_a_narrow_cell_keeps_its_name(header):
    header.show_scale("inferno", (0.0, 0.25))
    picture = painted(header, 90)
    assert len(bar(picture)) == 0
    assert (picture[:, :60] == INK).all(axis=-1).any()
    wide = painted(header, 400)
    np.testing.assert_array_equal(picture[:, :50], wide[:, :50])


def test_a_name_that_is_too_long_is_shortened(header):
    header.name = "a name that no cell of such a width can hold " * 3
    header.show_scale("inferno", (0.0, 1.0))
    picture = painted(header, 200)
    assert (picture[:, 199] == PAPER).all()
    assert len(bar(picture)) == 0


@pytest.mark.parametrize("limits", [(-1e-30, 1e-30), (0.0, 1e30), (0.0, 123456.0)])
def test_any_numbers_have_three_digits(header, limits):
    header.show_scale("inferno", limits)
    assert header.ends == tuple(f"{x:.3g}" for x in limits)
    painted(header, 400)


def test_it_is_painted_anew_only_if_it_looks_otherwise(header, qtbot):
    header.parent().show()
    qtbot.waitExposed(header.parent())
    header.show_scale("inferno", (0.0, 0.25))
    before = painted(header, 400)
    header.show_scale("inferno", (0.0, 0.2500001))  # the same in three digits
    np.testing.assert_array_equal(painted(header, 400), before)
    header.show_scale("viridis", (0.0, 0.25))
    assert (painted(header, 400) != before).any()
