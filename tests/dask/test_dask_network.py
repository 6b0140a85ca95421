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


def test_what_does_not_fit_is_refused():
    image = np.zeros((64, 64))
    with pytest.raises(ValueError, match=r"multiples of the network's stride 4, got 18 and 4"):
        mdn.dask.from_network(network(4), image, 18, 4)
    with pytest.raises(ValueError, match="function must return confidence"):
        mdn.dask.from_network(lambda tile: (tile, tile), image, 16, 0)
    with pytest.raises(ValueError, match="tile must be at least 1"):
        mdn.dask.from_network(network(1), image, 0, 0)


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
