"""The conversion of half-precision fields, of every bit pattern."""

import numpy as np

from mdn_cupy.cpu.half import widened


def test_every_half_becomes_the_float_that_numpy_makes_of_it():
    halves = np.arange(2**16, dtype=np.uint16).view(np.float16)
    with np.errstate(invalid="ignore"):
        wanted = halves.astype(np.float32)
    np.testing.assert_array_equal(widened(halves).view(np.uint32), wanted.view(np.uint32))
    turned = halves.reshape(256, 256).T
    np.testing.assert_array_equal(widened(turned), turned.astype(np.float32))
    assert widened(halves.astype(">f2")).dtype == ">f2"
    single = wanted[:3]
    assert widened(single) is single
