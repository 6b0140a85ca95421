"""Reads within an array (argument 0) or beyond it (1), in a sanitized library."""

import sys
from pathlib import Path

import numpy as np

from cuda_host import HostModule
from cuda_host.build import SANITIZED

name = f"read_beyond<{'true' if int(sys.argv[1]) else 'false'}>"
text = Path(__file__).with_name("faults.cu").read_text("utf-8")
values, total = np.arange(1000, dtype=np.int32), np.zeros(1, np.int32)
kernel = HostModule(text, [name], SANITIZED).get_function(name)
kernel((1,), (64,), [np.uint64(values.ctypes.data), np.int32(1000), np.uint64(total.ctypes.data)])
assert total[0] == values.sum()
