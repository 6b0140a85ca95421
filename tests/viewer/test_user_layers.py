"""The user's own points, labels and shapes over the maps."""

import napari
import numpy as np
import pytest
from mdn_viewer.canvas.overlays import Marks, Outlines, Patch
from mdn_viewer.core.session import ALL

OWN = {"two image", "two confidence", "two offsets"}


@pytest.fixture
def widget(shared_two):
    viewer = napari.current_viewer()
    for layer in [layer for layer in viewer.layers if layer.name not in OWN]:
        viewer.layers.remove(layer)
    shared_two.controls.part.value = 0
    shared_two.wait()
    shared_two.canvas.reset_view()
    return shared_two


@pytest.fixture
def viewer(widget):
    return napari.current_viewer()


def overlay(qtbot, widget, layer, kind, ready=lambda drawn: True):
    """What is drawn of a layer, when it is drawn."""
    name = f"{kind}:{layer.unique_id}"

    def there():
        drawn = widget.canvas.overlay(name)
        return drawn is not None and ready(drawn)

    qtbot.waitUntil(there)
    return widget.canvas.overlay(name)


def gone(qtbot, widget, layer, kind):
    qtbot.waitUntil(lambda: widget.canvas.overlay(f"{kind}:{layer.unique_id}") is None)


def coloured(canvas, row, column, colour):
    """In how many cells there is a colour at a pixel of the output."""
    picture, count = canvas.screenshot()[..., :3].astype(int), 0
    for name in canvas.cells:
        point = canvas.native.mapFromGlobal(canvas.screen_position(name, row, column))
        near = picture[point.y() - 2 : point.y() + 3, point.x() - 2 : point.x() + 3]
        count += bool((np.abs(near - colour).max(axis=-1) < 40).any())
    return count


def test_points_are_drawn_in_every_cell_where_they_are(viewer, widget, qtbot):
    points = viewer.add_points([[14, 20], [3, 4]], face_color="lime", symbol="square")
    marks = overlay(qtbot, widget, points, "points")
    assert isinstance(marks, Marks)
    assert coloured(widget.canvas, 14, 20, (0, 255, 0)) == len(widget.canvas.cells)
    points.data = [[9, 26]]
    qtbot.waitUntil(lambda: coloured(widget.canvas, 9, 26, (0, 255, 0)) > 0)
    assert coloured(widget.canvas, 14, 20, (0, 255, 0)) == 0
    points.visible = False
    gone(qtbot, widget, points, "points")
    points.visible = True
    overlay(qtbot, widget, points, "points")
    viewer.layers.remove(points)
    gone(qtbot, widget, points, "points")
    assert coloured(widget.canvas, 9, 26, (0, 255, 0)) == 0


def test_points_of_parts_are_shown_for_the_part_that_is_voted_for(viewer, widget, qtbot):
    points = viewer.add_points([[0, 4, 4], [1, 4, 20], [1, 20, 20]], face_color="lime")

    def green():
        places = ((4, 4), (4, 20), (20, 20))
        return [coloured(widget.canvas, *place, (0, 255, 0)) > 0 for place in places]

    overlay(qtbot, widget, points, "points")
    for part, expected in ((0, [1, 0, 0]), (1, [0, 1, 1]), (ALL, [1, 1, 1])):
        widget.controls.part.value = part
        widget.wait()
        qtbot.waitUntil(lambda expected=expected: green() == expected)


def test_labels_are_drawn_with_their_opacity(viewer, widget, qtbot):
    data = np.zeros((24, 32), int)
    data[4:8, 22:30] = 3
    labels = viewer.add_labels(data, opacity=1.0)
    patch = overlay(qtbot, widget, labels, "labels")
    assert isinstance(patch, Patch)
    colour = np.asarray(labels.get_color(3))[:3] * 255
    assert coloured(widget.canvas, 6, 26, colour) == len(widget.canvas.cells)
    labels.opacity = 0.0
    qtbot.waitUntil(lambda: coloured(widget.canvas, 6, 26, colour) == 0)


def test_labels_on_a_grid_of_their_own(viewer, widget, qtbot):
    data = np.zeros((6, 8), int)
    data[4, 6] = 2  # at row 18, column 26
    labels = viewer.add_labels(data, opacity=1.0, scale=(4, 4), translate=(2, 2))
    overlay(qtbot, widget, labels, "labels")
    colour = np.asarray(labels.get_color(2))[:3] * 255
    assert coloured(widget.canvas, 18, 26, colour) == len(widget.canvas.cells)
    assert coloured(widget.canvas, 18, 20, colour) == 0


@pytest.mark.parametrize("kind", ["rectangle", "polygon", "ellipse"])
def test_shapes_are_outlined(viewer, widget, qtbot, kind):
    corners = np.array([[3, 14], [3, 28], [17, 28], [17, 14]])
    shapes = viewer.add_shapes([corners], shape_type=kind)
    outlines = overlay(qtbot, widget, shapes, "shapes")
    assert isinstance(outlines, Outlines)
    before = widget.canvas.screenshot().astype(int)
    shapes.visible = False
    gone(qtbot, widget, shapes, "shapes")
    changed = (before != widget.canvas.screenshot()).any(axis=-1)
    for name in widget.canvas.cells:
        at = [(3, 21), (17, 21), (10, 14), (10, 28)]  # the middle of every side: on an ellipse too
        for row, column in at:
            point = widget.canvas.native.mapFromGlobal(
                widget.canvas.screen_position(name, row, column)
            )
            assert changed[point.y() - 3 : point.y() + 4, point.x() - 3 : point.x() + 4].any()
        middle = widget.canvas.native.mapFromGlobal(widget.canvas.screen_position(name, 10, 21))
        assert not changed[middle.y(), middle.x()]


def test_what_lies_askew_is_not_drawn_and_nothing_breaks(viewer, widget, qtbot):
    labels = viewer.add_labels(np.ones((24, 32), int), rotate=30)
    volume = viewer.add_labels(np.ones((2, 24, 32), int))
    straight = viewer.add_points([[5, 5]])
    overlay(qtbot, widget, straight, "points")
    for layer in (labels, volume):
        assert widget.canvas.overlay(f"labels:{layer.unique_id}") is None
