"""HTML for notebooks: a table, beside a small picture."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterable
from html import escape
from importlib.util import find_spec
from io import BytesIO
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["as_html"]

_SIDE = 256  # pixels of a picture, at most


def as_html(rows: Iterable[tuple[str, str]], m: npt.NDArray[Any] | None) -> str:
    """Describe something as an HTML table.

    Parameters
    ----------
    rows : iterable of (str, str)
        Name and text of each row.
    m : array [H, W], optional
        A map in [0, 1] to show beside it, where matplotlib is installed.

    Returns
    -------
    str
        HTML.

    Examples
    --------
    >>> as_html([("sigma", "2")], None)
    '<div style="display: flex; gap: 1em"><table><tr><th>sigma</th><td>2</td></tr></table></div>'
    """
    cells = "".join(f"<tr><th>{name}</th><td>{escape(text)}</td></tr>" for name, text in rows)
    picture = "" if m is None or not find_spec("matplotlib") else _inline_png(m)
    return f'<div style="display: flex; gap: 1em"><table>{cells}</table>{picture}</div>'


def _inline_png(m: npt.NDArray[Any]) -> str:
    from matplotlib.image import imsave

    step = -(-max(m.shape) // _SIDE)
    padded = np.pad(m, [(0, -size % step) for size in m.shape], constant_values=-1)
    rows, columns = (size // step for size in padded.shape)
    highest = padded.reshape(rows, step, columns, step).max((1, 3))  # a narrow peak stays
    file = BytesIO()
    imsave(file, highest, cmap="magma", vmin=0, vmax=1, format="png")
    data = b64encode(file.getvalue()).decode()
    return f'<img src="data:image/png;base64,{data}" style="max-height: 12em" alt="noisy-or map">'
