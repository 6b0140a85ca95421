"""Write fields of any size to a Zarr group: nuclei whose pixels vote for their centre.

    python samples/make_large_field.py slide.zarr --size 20000

A nucleus lies in every cell of a grid of 24 pixels: a disc of 8 pixels about a centre that is moved
by up to 3. Its pixels, a third of all, have a confidence of 0.02 to 0.3 and an offset to the centre
with noise of 1 pixel. Both fields are float16, in shards of 2048 pixels with chunks of 512.
"""

import argparse

import numpy as np
import zarr

GRID, RADIUS, MOVED = 24, 8, 3


def centres(size):
    """Return row and column of each nucleus, [2, cells, cells]."""
    cells = -(-size // GRID)
    moved = np.random.default_rng(0).uniform(-MOVED, MOVED, (2, cells, cells))
    places = GRID * np.arange(cells) + GRID / 2
    return np.stack([moved[0] + places[:, None], moved[1] + places]).astype(np.float32)


def block(centre, top, left, height, width):
    """Return the confidence [H, W] and offsets [2, H, W] of a part of the fields."""
    rng = np.random.default_rng((1, top, left))
    rows, columns = np.arange(top, top + height), np.arange(left, left + width)
    cell = np.ix_(rows // GRID, columns // GRID)
    o_y = centre[0][cell] - rows[:, None].astype(np.float32)
    o_x = centre[1][cell] - columns.astype(np.float32)
    inside = o_y * o_y + o_x * o_x < RADIUS**2
    c = np.where(inside, rng.uniform(0.02, 0.3, inside.shape), 0).astype(np.float16)
    o = np.stack([o_x, o_y]) + rng.standard_normal((2, height, width), np.float32)
    return c, np.where(inside, o, 0).astype(np.float16)


def write(path, size, shard=2048, chunk=512):
    """Write a group with confidence and offsets of size x size sources, shard by shard."""
    group = zarr.open_group(path, mode="w", attributes={"sigma": 3.0})
    shard = min(shard, -(-size // chunk) * chunk)
    settings = {"dtype": "float16", "dimension_names": None}
    c = group.create_array(
        "confidence", shape=(size, size), shards=(shard,) * 2, chunks=(chunk,) * 2, **settings
    )
    o = group.create_array(
        "offsets",
        shape=(2, size, size),
        shards=(2, shard, shard),
        chunks=(2, chunk, chunk),
        **settings,
    )
    centre = centres(size)
    for top in range(0, size, shard):
        for left in range(0, size, shard):
            sizes = min(shard, size - top), min(shard, size - left)
            part = slice(top, top + sizes[0]), slice(left, left + sizes[1])
            c[part], o[(slice(None), *part)] = block(centre, top, left, *sizes)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("path")
    parser.add_argument("--size", type=int, default=20000, help="rows and columns of the fields")
    arguments = parser.parse_args()
    write(arguments.path, arguments.size)
