"""Files of field sets: `.mdn`, and what networks and their users write.

One module for each kind of file says what arrays it holds (`contents`), without reading them;
`memory` does so of arrays in memory and of open groups. `naming` finds the two fields among them,
and `opening` makes of both, in an order of axes, a sequence of `Fields` that reads a frame when it
is asked for.
"""

from mdn_cupy.axes import Layout
from mdn_cupy.io.mdn import load_fields, save_fields
from mdn_cupy.io.memory import Held
from mdn_cupy.io.opening import SUFFIXES, Inspected, inspect_file, open_fields
from mdn_cupy.io.reading import sigmoid
from mdn_cupy.io.sequence import FieldsSequence

__all__ = [
    "SUFFIXES",
    "FieldsSequence",
    "Held",
    "Inspected",
    "Layout",
    "inspect_file",
    "load_fields",
    "open_fields",
    "save_fields",
    "sigmoid",
]
