"""Pictures of votes: image, confidence and both rules' maps of one part."""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
import numpy.typing as npt

from mdn_cupy.arrays import Array, is_number
from mdn_cupy.fields import Fields
from mdn_cupy.peaks import Peaks, find_peaks
from mdn_cupy.votes import Votes

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = [
    "Comparison",
    "Peak",
    "compare",
    "draw",
    "peak",
    "require_matplotlib",
    "save",
    "width_in_words",
]

Map = npt.NDArray[np.floating]


def require_matplotlib() -> None:
    """Raise RuntimeError with the command to install matplotlib where it is missing."""
    if find_spec("matplotlib") is None:
        raise RuntimeError('the figure needs matplotlib; pip install "mdn-cupy[plot]"')


@dataclass(frozen=True)
class Peak:
    """The highest value of a map and the output pixel where it stands."""

    value: float
    row: int
    column: int

    def __str__(self) -> str:
        """Value, row and column in words."""
        return f"{self.value:.4g} at row {self.row}, column {self.column}"


@dataclass(frozen=True, eq=False)
class Comparison:
    """Both rules' maps of the same votes, and where they are highest.

    The noisy-or's peaks are found in the evidence −L, which does not saturate: those with m of at
    least 0.5; of the additive map, those of at least half its highest value.
    """

    noisy_or: Map
    additive: Map
    noisy_or_peak: Peak
    additive_peak: Peak
    sigma: Array | float
    noisy_or_peaks: Peaks
    additive_peaks: Peaks


def peak(values: Map, evidence: Map | None = None) -> Peak:
    """Find the highest value of a map, the first in row order; 0 of an empty map.

    Parameters
    ----------
    values : array [Ho, Wo]
        The map.
    evidence : array [Ho, Wo], optional
        Where to search instead, if the map saturates.

    Returns
    -------
    Peak
        The map's value there, and where.

    Examples
    --------
    >>> import numpy as np
    >>> from mdn_cupy.plotting import peak
    >>> print(peak(np.eye(2)))
    1 at row 0, column 0
    """
    if values.size == 0:
        return Peak(0.0, 0, 0)
    searched = values if evidence is None else evidence
    row, column = np.unravel_index(int(np.argmax(searched)), values.shape)
    return Peak(float(values[row, column]), int(row), int(column))


def compare(votes: Votes) -> Comparison:
    """Combine votes for one map by both rules, and find the peaks."""
    m, log_complement, s = votes.compare()
    evidence = 0 - log_complement
    highest = peak(s)
    half = highest.value / 2 if highest.value > 0 else math.inf
    return Comparison(
        m,
        s,
        peak(m, evidence),
        highest,
        votes.sigma,
        find_peaks(evidence, threshold=math.log(2), score=m),
        find_peaks(s, threshold=half),
    )


def draw(fields: Fields, part: str | int | None, comparison: Comparison) -> Figure:
    """Draw image, confidence, noisy-or and additive map side by side.

    Parameters
    ----------
    fields : Fields
        The field set; without an image that panel shows the arrows of the strongest votes alone.
    part : str or int, optional
        The part that was voted for; None for all parts together.
    comparison : Comparison
        What `compare` returned for it.

    Returns
    -------
    matplotlib.figure.Figure
        Ready to be saved.
    """
    from matplotlib import rcParams
    from matplotlib.figure import Figure

    height, width = comparison.noisy_or.shape
    figure = Figure(figsize=(16, 0.9 + 3.3 * height / max(width, 1)), layout="constrained")
    image, confidence, left, right = figure.subplots(1, 4)
    c, offsets = _within(fields, part)
    _draw_votes(image, fields, c, offsets, (height, width))
    _draw_map(figure, confidence, c, "confidence c", _extent(fields, c.shape), vmax=None)
    output = (-0.5, width - 0.5, height - 0.5, -0.5)
    for axes, rule, vmax in ((left, "noisy_or", 1.0), (right, "additive", None)):
        values, highest, peaks = (
            getattr(comparison, f"{rule}{what}") for what in ("", "_peak", "_peaks")
        )
        title = f"{rule.replace('_', '-')}\npeak {highest}"
        _draw_map(figure, axes, values, title, output, vmax=vmax)
        axes.plot(peaks.x, peaks.y, "+", ms=9, color="deepskyblue")  # seen on all of magma
        axes.plot(highest.column, highest.row, "o", ms=14, mfc="none", mec="white", mew=1.2)
    for axes in (image, confidence, left, right):
        axes.set(xlim=output[:2], ylim=output[2:])
        axes.tick_params(labelsize=8)
    name = "all parts" if part is None else fields.names[fields.part(part)]
    title = f"{name}, σ = {width_in_words(comparison.sigma)} px"
    title = title.encode(errors="backslashreplace").decode()  # half a surrogate pair has no glyph
    as_it_is = {"parse_math": False, "usetex": False}  # a name may have dollars in it
    figure.suptitle(title, **as_it_is, family=[*rcParams["font.family"], *_fonts_for(title)])
    return figure


def save(figure: Figure, file: BinaryIO, kind: str) -> None:
    """Write a figure to a file, without warnings of characters that no installed font has.

    Parameters
    ----------
    figure : matplotlib.figure.Figure
        What `draw` returned.
    file : binary file
        What to write to.
    kind : {'png', 'pdf', 'svg'}
        The format.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", r"Glyph \d+ .* missing", UserWarning)
        figure.savefig(file, format=kind, dpi=110)


def _fonts_for(text: str) -> list[str]:
    """Return the installed fonts that have the characters which the usual one lacks."""
    from matplotlib.font_manager import FontProperties, findfont, fontManager, get_font

    def lacking(path: str, characters: set[str]) -> set[str]:
        try:
            font = get_font(path)
        except (OSError, RuntimeError):  # no longer there, or broken
            return characters
        return {one for one in characters if not font.get_char_index(ord(one))}

    left, found = lacking(findfont(FontProperties()), set(text) - {"\n"}), []
    for font in fontManager.ttflist if left else ():
        still = lacking(font.fname, left)
        # matplotlib adds its fallback font itself; that has only a box for every character.
        if still != left and not font.name.startswith("Last Resort"):
            found.append(font.name)
            left = still
        if not left:
            break
    return found


def width_in_words(sigma: Array) -> str:
    """Format a width in a few characters; of an array its least and its greatest."""
    if is_number(sigma):
        return f"{sigma:g}"
    return f"{sigma.min():.3g} to {sigma.max():.3g}"


def _within(fields: Fields, part: str | int | None) -> tuple[Map, Map]:
    """Return confidence [H, W] and offsets [2, H, W] of the part, or of the strongest one."""
    if part is not None:
        index = fields.part(part)
        return fields.confidence[index], fields.offsets[index]
    strongest = fields.confidence.argmax(axis=0)[None]
    confidence = np.take_along_axis(fields.confidence, strongest, axis=0)[0]
    offsets = np.take_along_axis(fields.offsets, strongest[:, None], axis=0)[0]
    return confidence, offsets


def _extent(fields: Fields, shape: tuple[int, ...]) -> tuple[float, float, float, float]:
    """Return the edges of the coarse grid in output pixels: left, right, bottom, top."""
    stride = np.broadcast_to(fields.stride, 2)
    top, left = (float(low) for low in fields.origin - stride / 2)
    return (left, left + float(stride[1]) * shape[1], top + float(stride[0]) * shape[0], top)


def _draw_map(
    figure: Figure, axes: Axes, values: Map, title: str, extent: Any, *, vmax: float | None
) -> None:
    artist = axes.imshow(
        values, extent=extent, vmin=0, vmax=vmax, cmap="magma", interpolation="nearest"
    )
    axes.set_title(title, fontsize=10)
    figure.colorbar(artist, ax=axes, fraction=0.046, pad=0.02, format="%.3g")


def _draw_votes(
    axes: Axes, fields: Fields, confidence: Map, offsets: Map, shape: tuple[int, int]
) -> None:
    """Draw the image and arrows from the strongest sources to where their votes land."""
    if fields.image is None:
        axes.imshow(np.zeros(shape), cmap="gray", vmin=0, vmax=1)
    else:
        axes.imshow(fields.image, cmap="gray")
    strongest = np.argsort(confidence, axis=None)[::-1][:60]
    rows, columns = np.unravel_index(strongest, confidence.shape)
    c = confidence[rows, columns]
    cast = c >= 0.05 * max(float(c[0]), 1e-9) if c.size else np.zeros(0, bool)
    rows, columns, c = rows[cast], columns[cast], c[cast]
    y, x = (np.broadcast_to(fields.origin, 2) + np.stack([rows, columns], -1) * fields.stride).T
    axes.quiver(
        x,
        y,
        offsets[0, rows, columns],
        offsets[1, rows, columns],
        c,
        angles="xy",
        scale_units="xy",
        scale=1,
        width=0.006,
        cmap="plasma",
        clim=(0, 1),
    )
    axes.set_title(f"image, {c.size} strongest votes", fontsize=10)
