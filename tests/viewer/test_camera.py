"""What the cells show, as arithmetic."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mdn_viewer.canvas.camera import Camera, Extent, grid_shape

places = st.floats(-1000, 1000)
sizes = st.tuples(st.integers(1, 2000), st.integers(1, 2000))
cameras = st.builds(Camera, places, places, st.floats(0.05, 100))
near = pytest.approx


@given(extent=st.tuples(places, places, st.floats(1, 1000), st.floats(1, 1000)), size=sizes)
def test_what_is_fitted_is_seen_whole_and_touches_two_edges(extent, size):
    top, left, height, width = extent
    wanted = Extent(top, left, top + height, left + width)
    seen = Camera.fit(wanted, size).extent(size)
    room = [a - b for a, b in zip(wanted[:2] + seen[2:], seen[:2] + wanted[2:], strict=True)]
    assert min(room) >= -1e-6
    assert min(room[0], room[1]) == near(0, abs=1e-6)
    assert room[0] == near(room[2], abs=1e-6)  # in the middle
    assert room[1] == near(room[3], abs=1e-6)


@given(camera=cameras, size=sizes)
def test_the_corners_of_a_cell_are_the_extent(camera, size):
    seen = camera.extent(size)
    assert camera.at(0, 0, size) == near((seen.top, seen.left))
    assert camera.at(size[1], size[0], size) == near((seen.bottom, seen.right))


@given(camera=cameras, size=sizes, x=places, y=places, dx=places, dy=places)
def test_what_is_dragged_follows_the_mouse(camera, size, x, y, dx, dy):
    moved = camera.moved(dx, dy)
    assert moved.at(x + dx, y + dy, size) == near(camera.at(x, y, size), abs=1e-6)
    assert moved.zoom == camera.zoom


@given(camera=cameras, size=sizes, x=places, y=places, factor=st.floats(0.01, 100))
def test_zooming_keeps_what_is_under_the_cursor(camera, size, x, y, factor):
    at = camera.at(x, y, size)
    zoomed = camera.zoomed(factor, at, 1.0)
    assert zoomed.at(x, y, size) == near(at, rel=1e-6, abs=1e-6)
    assert zoomed.zoom == near(min(max(camera.zoom * factor, 0.1), 200))


def test_zooming_ends():
    camera, at = Camera(5, 5, 2.0), (5, 5)
    assert camera.zoomed(1e9, at, 2.0).zoom == 200
    assert camera.zoomed(1e-9, at, 2.0).zoom == near(0.2)
    assert camera.zoomed(1e9, at, 500.0).zoom == 500  # a few pixels fill the cell


@given(cells=st.integers(0, 12), size=sizes, aspect=st.floats(0.1, 10), header=st.integers(0, 20))
def test_cells_are_laid_out_with_pictures_as_large_as_can_be(cells, size, aspect, header):
    def scale(rows, columns):
        return min(size[0] / rows - header, size[1] / columns / aspect)

    rows, columns = grid_shape(cells, size, aspect, header)
    assert rows * columns >= cells
    assert (rows - 1) * columns < max(cells, 1)  # no row is empty
    if cells:
        ways = [(-(-cells // n), n) for n in range(1, cells + 1)]
        assert scale(rows, columns) == max(scale(*way) for way in ways)


def test_four_squares_and_four_wide_pictures():
    assert grid_shape(4, (800, 800), 1.0, 18) == (2, 2)
    assert grid_shape(4, (300, 1400), 1.0, 18) == (1, 4)
    assert grid_shape(4, (800, 800), 4.0, 18) == (4, 1)
    assert grid_shape(0, (800, 800), 1.0, 18) == (0, 1)
