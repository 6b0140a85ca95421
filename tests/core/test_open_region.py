"""A region of the sources of a file: read alone, and with the votes of its sources."""

import numpy as np
import pytest
import zarr

import mdn_cupy as mdn

REGION = slice(5, 25, 2), slice(3, None)


@pytest.fixture(params=["zarr", "h5", "npz", "mdn"])
def path(request, tmp_path):
    """Two frames of three parts, whose widths differ by source."""
    rng = np.random.default_rng(0)
    arrays = {
        "confidence": rng.random((2, 3, 30, 40)).astype(np.float32),
        "offsets": rng.normal(0, 2, (2, 3, 2, 30, 40)).astype(np.float32),
        "sigma": rng.uniform(1, 2, (2, 3, 30, 40)).astype(np.float32),
        "image": rng.random((2, 60, 160)).astype(np.float32),
    }
    file = tmp_path / f"fields.{request.param}"
    if request.param == "npz":
        np.savez(file, stride=[2.0, 4.0], **arrays)
    elif request.param == "mdn":
        frames = [
            mdn.Fields(**{n: x[t] for n, x in arrays.items()}, stride=(2, 4)) for t in range(2)
        ]
        mdn.save_fields(file, frames)
    elif request.param == "zarr":
        group = zarr.open_group(file, attributes={"stride": [2.0, 4.0]})
        for name, values in arrays.items():
            group.create_array(name, data=values, chunks=(1,) * (values.ndim - 2) + (8, 8))
    else:
        h5py = pytest.importorskip("h5py")
        with h5py.File(file, "w") as group:
            for name, values in arrays.items():
                group[name] = values
            group["stride"] = [2.0, 4.0]
    return file


def test_a_region_has_the_sources_of_its_rows_and_columns(path):
    whole = mdn.open_fields(path)[1]
    part = mdn.open_fields(path, region=REGION)[1]
    for name in ("confidence", "offsets", "sigma"):
        np.testing.assert_array_equal(
            getattr(part, name), np.asarray(getattr(whole, name))[(..., *REGION)]
        )
    assert np.broadcast_to(part.stride, 2).tolist() == [4.0, 4.0]
    assert part.image is None
    assert part.votes(0).shape == (37, 145)


@pytest.mark.parametrize(
    ("region", "message"),
    [
        *((part, "region must be two slices, of rows and") for part in (slice(5), (slice(5),), 3)),
        ((slice(5), 3), "the columns of region must be a slice of integers, .*, got 3"),
        ((slice(5, 0, -1), slice(5)), "the rows of region must be a slice with a step from 1 on"),
        ((slice(0.5), slice(5)), r"the rows of region must be a slice of integers, .*0\.5"),
        ("5:", "the rows of region must be a slice of integers"),
    ],
)
def test_what_is_no_region_is_refused(path, region, message):
    with pytest.raises((TypeError, ValueError), match=message):
        mdn.open_fields(path, region=region)


def test_a_region_without_a_source_is_refused(path):
    with pytest.raises(ValueError, match="region must take a row and a column"):
        mdn.open_fields(path, region=(slice(5, 2), slice(None)))[0]


def test_the_map_of_a_region_is_the_crop_of_the_whole_within_its_margin(path):
    region = slice(5, 28), slice(3, 40)
    whole, part = (mdn.open_fields(path, region=r)[0] for r in (None, region))
    wanted = whole.votes(0).noisy_or()[10 : 10 + 45, 12 : 12 + 145]
    found = part.votes(0).noisy_or()
    margin = 20  # offsets of up to 8 and windows of 8 pixels
    inner = (slice(margin, -margin),) * 2
    np.testing.assert_allclose(found[inner], wanted[inner], atol=1e-6)
