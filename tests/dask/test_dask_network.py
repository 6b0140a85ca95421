"""Networks over tiles: the fields of the whole, wherever the tiles end."""

import dask.array as da
import numpy as np
import pytest
import torch

import mdn_cupy as mdn


def network(stride):
    """A mean of 5 × 5 pixels, and a difference; at the edge both see zeros."""

    def function(image):
        image = np.asarray(image)
        margin = np.pad(image, [(0, 0)] * (image.ndim - 2) + [(2, 2), (2, 2)])
        seen = np.lib.stride_tricks.sliding_window_view(margin, (5, 5), axis=(-2, -1))
        seen = seen[0] if image.ndim == 3 else seen
        c = seen.mean((-1, -2))[::stride, ::stride]
        o = np.stack([c - seen[::stride, ::stride, 0, 0], c])
        return c.astype(np.float32), o.astype(np.float32)

    return function


@pytest.mark.parametrize("stride", [1, 4])
@pytest.mark.parametrize("shape", [(64, 80), (1, 64, 80)])
@pytest.mark.parametrize("tile", [16, 24, 64])
def test_tiles_give_the_fields_of_the_whole(stride, shape, tile):
    image = np.random.default_rng(0).random(shape)
    function = network(stride)
    for given in (image, da.from_array(image, chunks=13)):
        c, o = mdn.dask.from_network(function, given, tile, 4)
        whole = function(image)
        assert (c.shape, o.shape) == (whole[0].shape, whole[1].shape)
        np.testing.assert_array_equal(c.compute(), whole[0])
        np.testing.assert_array_equal(o.compute(), whole[1])


def test_without_a_halo_there_are_seams():
    """So that the test above can fail."""
    image = np.random.default_rng(0).random((64, 64))
    c, _ = mdn.dask.from_network(network(1), image, 16, 0)
    wrong = c.compute() != network(1)(image)[0]
    assert wrong[14:18].any()
    assert not wrong[2:14, 2:14].any()


def same(tile):
    return tile, np.zeros((*tile.shape[:-2], 2, *tile.shape[-2:]))


@pytest.mark.parametrize(
    ("function", "image", "tile", "halo", "message"),
    [
        (network(4), np.zeros((64, 64)), 18, 4, "of the network's stride 4, got 18 and 4"),
        (lambda tile: (tile, tile), np.zeros((64, 64)), 16, 0, "must return confidence"),
        (lambda tile: tile, np.zeros((64, 64)), 16, 0, "a tuple of two, got numpy.ndarray"),
        (same, np.zeros((64, 64), int), 16, 0, "function's confidence must be of a floating dtype"),
        (same, np.zeros((64, 64)), 0, 0, "tile must be at least 1, got 0"),
        (same, np.zeros((64, 64)), 16.5, 0, "tile must be a whole number, got 16.5"),
        (same, np.zeros((64, 64)), 16, -1, "halo must be at least 0, got -1"),
        (same, np.zeros(64), 16, 0, r"image must have the shape \(..., H, W\), got \(64,\)"),
    ],
)
def test_what_does_not_fit_is_refused(function, image, tile, halo, message):
    with pytest.raises((TypeError, ValueError), match=message):
        mdn.dask.from_network(function, image, tile, halo)


def test_a_network_that_returns_fewer_rows_of_some_tiles_is_an_error():
    c, _ = mdn.dask.from_network(lambda tile: same(tile[-16:]), np.zeros((40, 16)), 16, 0)
    assert c.compute().shape == (40, 16)
    c, _ = mdn.dask.from_network(lambda tile: same(tile[len(tile) % 16 :]), c, 16, 0)
    with pytest.raises(ValueError, match="function must return fields that have the same stride"):
        c.compute()


@pytest.mark.slow
def test_the_nuclei_of_a_slide_are_counted_without_seams():
    from samples import count_nuclei

    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # several wait for each other where other programs run
    try:
        centres, tiles, whole, moved = count_nuclei.main(400)
    finally:
        torch.set_num_threads(threads)
    assert len(tiles) == len(whole)
    assert abs(len(tiles) - len(centres)) <= 0.02 * len(centres)
    assert moved.max() < 0.01
