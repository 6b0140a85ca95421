"""`Votes`: confidences, offsets, sigma and options, checked once, and the methods on them."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Unpack, cast

import numpy as np

from mdn_cupy.arrays import (
    Array,
    adopt,
    cast_to,
    in_words,
    is_number,
    is_torch,
    kind_of,
    namespace,
    on_device,
    to_gpu,
    to_numpy,
)
from mdn_cupy.backend import Backend, module
from mdn_cupy.checks import check_fields
from mdn_cupy.peaks import Instances, Peaks, located, spread
from mdn_cupy.problem import (
    Gradients,
    Rule,
    RuleName,
    VoteKwargs,
    VoteOptions,
    rule_of,
    spelled_out,
    vote_problem,
)
from mdn_cupy.validation import Pair, called, check_not_negative, crop_range, named_in_errors

if TYPE_CHECKING:
    from mdn_cupy.provenance import Footprint, Voters

__all__ = ["Votes"]


class _VotesKwargs(VoteKwargs, total=False):
    """The arguments of `Votes`."""

    confidence: Array
    offsets: Array
    sigma: Array | float


_FIELDS = ("confidence", "offsets", "sigma")
_MOST_DRAWN = 1 << 20  # pixels of all maps: dense votes for as many take about a second


@named_in_errors
@dataclass(frozen=True, eq=False, repr=False)
class Votes(VoteOptions):
    r"""Displaced, blurred votes: one for every source of a confidence and an offset field.

    A source at :math:`x` with the confidence :math:`c(x)` and the offset :math:`o(x)` votes for the
    point :math:`p = x + o(x)`. Its weight at the output pixel :math:`x_0` is

    .. math:: w(x, x_0) = \exp(-\|x_0 - p\|^2 / 2\sigma^2)

    and the votes combine by one of three rules (Neverova & Kokkinos, *Mass Displacement Networks*,
    supplement), each a method that returns the vote map:

    ============== ======================================= ============
    `noisy_or`     :math:`m = 1 - \prod_x (1 - w c)`        Eq. 2
    `additive`     :math:`s = \sum_x w c / (2\pi\sigma^2)`  Eq. 3, 6
    `plain_sum`    :math:`s = \sum_x w c`                   Eq. 3, 4
    ============== ======================================= ============

    Arguments are checked once, here; nothing can be changed afterwards, see `replace`. Arrays are
    NumPy, CuPy or torch, and results are of the same kind; tensors keep their graph.

    Parameters
    ----------
    confidence : array [..., H, W]
        Confidences c in [0, 1], floating. NumPy, CuPy, torch or any DLPack exporter. A NaN makes
        the pixels in its window NaN; see `check` for what lies outside the domain.
    offsets : array [..., 2, H, W]
        Offsets (o_x, o_y): columns rightwards and rows downwards, in output pixels. A source whose
        position is not finite casts no vote.
    sigma : float or array
        Width σ of the Gaussian, in output pixels. An array broadcasts against `confidence`:
        (P, 1, 1) is one per part, (..., H, W) one per source. A number must be greater than 0; a
        source whose sigma in an array is not, or is NaN, casts no vote.
    truncate : float
        A vote reaches the pixels within ``truncate * sigma`` of where it lands, along each axis;
        `math.inf` is the paper's own sum. Beyond 37 sigma, weights are below 1e-296, and the CPU
        leaves them out.
    stride, origin : float or (float, float)
        Source (i, j) sits at the output row ``origin[0] + stride[0] * i`` and column
        ``origin[1] + stride[1] * j``; a number counts for both axes.
    output_shape : (int, int), optional
        Size (Ho, Wo) of the map; by default (H, W) at stride 1, else
        ``floor(stride * (H - 1)) + 1`` by ``floor(stride * (W - 1)) + 1``.
    aggregate : int, optional
        Axis of the broadcast confidence shape, not one of the last two, whose maps all vote into
        one output map (cross-part voting).
    deterministic : bool
        On a GPU, accumulate in fixed point, so that a map's bits depend neither on the order of the
        votes nor on the batch around it; its unit is then 2⁻⁴⁶ or so of the map's strongest vote.
        False allows float atomics. The CPU is always deterministic.

    Raises
    ------
    TypeError
        If an argument is no array, not floating, or of another library or device than the others.
    ValueError
        If a shape or a scalar does not fit.

    Examples
    --------
    >>> import mdn_cupy as mdn
    >>> pose = mdn.samples.load("pose")
    >>> votes = mdn.Votes(pose.confidence, pose.offsets, 8.0, stride=16, output_shape=(385, 385))
    >>> votes.noisy_or().shape
    (17, 385, 385)
    >>> votes.replace(sigma=4.0).crop(slice(90, 100), slice(160, 172)).additive().shape
    (17, 10, 12)
    """

    confidence: Array
    offsets: Array
    sigma: Array | float
    _backend: Backend | Literal["torch"] = field(init=False)
    _problem: Any = field(init=False)  # what the backend takes: validated and aligned

    # Not those of the options: arrays are not compared, so that votes equal only themselves.
    __eq__ = object.__eq__
    __hash__ = object.__hash__

    def __post_init__(self) -> None:
        super().__post_init__()
        backend, adopted = adopt(**_arrays(self))
        for name, value in adopted.items():
            object.__setattr__(self, name, value)
        problem = _engine(backend).problem(self.confidence, self.offsets, self.sigma, self)
        object.__setattr__(self, "_backend", backend)
        object.__setattr__(self, "_problem", problem)

    # Maps

    def noisy_or(self) -> Array:
        r"""Combine the votes by the noisy-or rule: m = 1 − Π (1 − w·c), Eq. 2.

        Returns
        -------
        array [..., Ho, Wo]
            m in [0, 1]; float64 if a field is, else float32.

        Examples
        --------
        >>> import numpy as np
        >>> import mdn_cupy as mdn
        >>> c = np.zeros((3, 5), np.float32)
        >>> c[1, 0] = c[1, 4] = 0.5
        >>> o = np.zeros((2, 3, 5), np.float32)
        >>> o[0, 1] = [2, 0, 0, 0, -2]  # both vote for column 2
        >>> float(mdn.Votes(c, o, 0.5).noisy_or()[1, 2])
        0.75
        """
        return self._module.noisy_or(self._problem)

    def log_complement(self) -> Array:
        """Accumulate L = Σ log(1 − w·c) = log(1 − m), exact where m rounds to 0 or 1.

        −L is the evidence, in which peaks are found.

        Returns
        -------
        array [..., Ho, Wo]
            L, at most 0 for confidences in [0, 1].

        Examples
        --------
        >>> import numpy as np
        >>> import mdn_cupy as mdn
        >>> votes = mdn.Votes(np.ones((1, 1)), np.zeros((2, 1, 1)), 1.0)  # one, of confidence 1
        >>> float(votes.noisy_or()[0, 0]), round(float(votes.log_complement()[0, 0]), 2)  # log 2⁻⁵³
        (0.9999999999999999, -36.74)
        """
        return self._accumulate(Rule.NOISY_OR)

    def additive(self) -> Array:
        """Sum the votes, each scaled to the mass c: s = Σ w·c / (2πσ²), Eq. 3 and 6.

        Returns
        -------
        array [..., Ho, Wo]
            s.

        Examples
        --------
        >>> import numpy as np
        >>> import mdn_cupy as mdn
        >>> s = mdn.Votes(np.ones((1, 1)), np.zeros((2, 1, 1)), 2.0).additive()
        >>> bool(np.isclose(s[0, 0], 1 / (2 * np.pi * 2.0**2)))
        True
        """
        return self._accumulate(Rule.ADDITIVE)

    def plain_sum(self) -> Array:
        """Sum the votes with K(0) = 1: s = Σ w·c, Eq. 3 and 4.

        Returns
        -------
        array [..., Ho, Wo]
            s; agreeing votes add up beyond 1.

        Examples
        --------
        >>> import numpy as np
        >>> import mdn_cupy as mdn
        >>> o = np.zeros((2, 1, 2))
        >>> o[0] = [[0, -1]]  # both vote for the first pixel
        >>> float(mdn.Votes(np.full((1, 2), 0.75), o, 0.2).plain_sum()[0, 0])
        1.5
        """
        return self._accumulate(Rule.PLAIN_SUM)

    def compare(self, rule: RuleName = "additive") -> tuple[Array, Array, Array]:
        """Combine the votes by the noisy-or and by a sum, on NumPy arrays in one pass.

        Parameters
        ----------
        rule : {'additive', 'plain_sum'}
            Which sum.

        Returns
        -------
        m, log_complement, s : array [..., Ho, Wo]
            The same bits as `noisy_or`, `log_complement` and the sum alone.

        Examples
        --------
        >>> import numpy as np
        >>> import mdn_cupy as mdn
        >>> o = np.zeros((2, 1, 3))
        >>> o[0] = [[1, 0, -1]]  # all vote for column 1
        >>> m, L, s = mdn.Votes(np.full((1, 3), 0.5), o, 1.0).compare("plain_sum")
        >>> float(m[0, 1]), float(s[0, 1])
        (0.875, 1.5)
        """
        found = rule_of(rule)
        if found is Rule.NOISY_OR:
            raise ValueError("rule must be a sum to compare with, 'additive' or 'plain_sum'")
        self._problem.check_rule(found, self.sigma)
        maps: tuple[Array, Array, Array] = self._module.compare(self._problem, found)
        return maps

    def evidence(self, rule: RuleName = "noisy_or") -> Array:
        """Compute the evidence of a rule: −L for the noisy-or, else the sum itself.

        It does not saturate where m rounds to 1, and peaks are found in it.
        """
        total = self._accumulate(rule_of(rule))
        return 0 - total if rule == "noisy_or" else total

    # Gradients

    def noisy_or_vjp(self, cotangent: Array, *, log_complement: Array | None = None) -> Gradients:
        r"""Pull a cotangent of m back to the confidences, the offsets and sigma.

        The cotangent of L is :math:`-\partial loss / \partial m \cdot e^L`; see
        `log_complement_vjp`.

        Parameters
        ----------
        cotangent : array [..., Ho, Wo]
            ∂loss/∂m, in any strides.
        log_complement : array [..., Ho, Wo], optional
            L, if it is known already; computed again if not given.

        Returns
        -------
        Gradients
            Each of the shape of its argument; sigma's has no dimensions where sigma is a number.

        Raises
        ------
        TypeError, ValueError
            If an array is not of the map's shape, library and device.

        Examples
        --------
        >>> import numpy as np
        >>> import mdn_cupy as mdn
        >>> votes = mdn.Votes(np.full((1, 1), 0.5), np.zeros((2, 1, 1)), 1.0)
        >>> float(votes.noisy_or_vjp(np.ones((1, 1))).confidence[0, 0])  # m = c at its own pixel
        1.0
        """
        if log_complement is None:
            log_complement = self.log_complement()
        else:
            log_complement = self._map("log_complement", log_complement)
        cotangent = self._map("cotangent", cotangent)
        with on_device(log_complement):
            cotangent = -cotangent * namespace(log_complement).exp(log_complement)
        return self._gather(Rule.NOISY_OR, cotangent)

    def log_complement_vjp(self, cotangent: Array) -> Gradients:
        r"""Pull a cotangent of L back (supplement, section 1).

        .. math:: \partial c = \sum -g w / (1 - wc), \quad
                  \partial o_x = \sum -g w c (x_0 - p_x) / (\sigma^2 (1 - wc)), \quad
                  \partial \sigma = \sum -g w c \|x_0 - p\|^2 / (\sigma^3 (1 - wc))

        Parameters
        ----------
        cotangent : array [..., Ho, Wo]
            g = ∂loss/∂L, in any strides.

        Returns
        -------
        Gradients
            As in `noisy_or_vjp`.
        """
        return self._gather(Rule.NOISY_OR, self._map("cotangent", cotangent))

    def additive_vjp(self, cotangent: Array) -> Gradients:
        r"""Pull a cotangent of the additive map back.

        With the kernel :math:`K = w / (2\pi\sigma^2)`:

        .. math:: \partial c = \sum g K, \quad
                  \partial o_x = \sum g K c (x_0 - p_x) / \sigma^2, \quad
                  \partial \sigma = \sum g K c (\|x_0 - p\|^2 / \sigma^3 - 2 / \sigma)

        Parameters
        ----------
        cotangent : array [..., Ho, Wo]
            g = ∂loss/∂s, in any strides.

        Returns
        -------
        Gradients
            As in `noisy_or_vjp`.
        """
        return self._gather(Rule.ADDITIVE, self._map("cotangent", cotangent))

    def plain_sum_vjp(self, cotangent: Array) -> Gradients:
        """Pull a cotangent of the plain sum back: as `additive_vjp`, with K = w and no 2/σ.

        Parameters
        ----------
        cotangent : array [..., Ho, Wo]
            ∂loss/∂s, in any strides.

        Returns
        -------
        Gradients
            As in `noisy_or_vjp`.

        Examples
        --------
        >>> import numpy as np
        >>> import mdn_cupy as mdn
        >>> votes = mdn.Votes(np.ones((1, 1)), np.zeros((2, 1, 1)), 1.0)
        >>> float(votes.plain_sum_vjp(np.ones((1, 1))).confidence[0, 0])
        1.0
        """
        return self._gather(Rule.PLAIN_SUM, self._map("cotangent", cotangent))

    # Peaks

    def peaks(
        self,
        *,
        threshold: float,
        min_distance: float = 1.0,
        max_peaks: int | None = None,
        border: int = 0,
        rule: RuleName = "noisy_or",
    ) -> Peaks:
        """Find all peaks of the evidence, and how the votes for each of them spread.

        Parameters
        ----------
        threshold : float
            Least evidence of a peak: −log(1 − m) for the noisy-or, which is 0.7 where m is 0.5 and
            4.6 where it is 0.99; else the sum. Above 0, since where nothing votes there is a
            plateau of 0.
        min_distance, max_peaks, border : optional
            As in `mdn_cupy.find_peaks`, which has the definition of a peak.
        rule : {'noisy_or', 'additive', 'plain_sum'}
            How the votes combine.

        Returns
        -------
        Peaks
            On the votes' device, with m = 1 − exp(−evidence) or the sum as the score, and with the
            covariance of the landing points and the effective number of voters. These two have no
            graph where the votes are tensors; the others have one.

        Raises
        ------
        TypeError, ValueError
            If there is no such rule, or a number does not fit.

        Examples
        --------
        >>> import mdn_cupy as mdn
        >>> votes = mdn.samples.load("pose").votes("nose", sigma=8.0)
        >>> peaks = votes.peaks(threshold=4.6)
        >>> peaks.x.round(1).tolist(), peaks.y.round(1).tolist(), peaks.voters.round(1).tolist()
        ([166.4], [95.0], [6.6])
        """
        found = rule_of(rule)
        peaks, pixels = located(
            self.evidence(rule),
            threshold=threshold,
            min_distance=min_distance,
            max_peaks=max_peaks,
            border=border,
        )
        columns = spread(self._module.peak_moments(self._problem, found, pixels, peaks.evidence))
        if found is Rule.NOISY_OR:
            with on_device(peaks.evidence):
                columns["score"] = 0 - namespace(peaks.evidence).expm1(0 - peaks.evidence)
        return dataclasses.replace(peaks, **columns)

    def instances(self, peaks: Peaks, *, radius: float = math.inf) -> Instances:
        """Say for every source to which peak it adds most evidence.

        That is the peak nearest to where its vote lands, by any rule, if it is in the window of the
        vote. At stride 1 the labels are an instance segmentation of the fields.

        Parameters
        ----------
        peaks : Peaks
            Of these votes' maps, such as `peaks` returns.
        radius : float
            Greatest distance of a landing point from its peak, in output pixels.

        Returns
        -------
        Instances
            The labels [..., H, W] of the sources, over all leading axes of the fields, the
            aggregated one too, and the mass of each instance; without a graph. On a GPU the last
            bit of a mass may depend on the order of the additions.

        Raises
        ------
        TypeError
            If `peaks` is no table, or is of another library or device than the votes.
        ValueError
            If its leading axes are not those of the votes' maps, or the radius is negative.

        Examples
        --------
        >>> import mdn_cupy as mdn
        >>> coins = mdn.samples.load("coins").votes()
        >>> labels, mass = coins.instances(coins.peaks(threshold=4.6), radius=8)
        >>> labels.shape, mass.shape, int(labels.max())
        ((8, 303, 384), (24,), 24)
        """
        if not isinstance(peaks, Peaks):
            raise TypeError(f"peaks must be mdn_cupy.Peaks, got {kind_of(peaks)}")
        radius = check_not_negative("radius", radius)
        if tuple(peaks.maps_shape) != self.shape[:-2]:
            raise ValueError(
                f"peaks must be of maps with the leading axes {self.shape[:-2]}, got "
                f"{tuple(peaks.maps_shape)}; find them by the peaks() of the same votes"
            )
        _, arrays = adopt(confidence=self.confidence, map=peaks.map, x=peaks.x, y=peaks.y)
        with on_device(self.confidence):
            xp = namespace(self.confidence)
            x, y = xp.stack([cast_to(arrays[name], "float64") for name in ("x", "y")])
            number = cast_to(arrays["map"], "int64")
            labels = self._module.instances(self._problem, number, x, y, radius)
            confidence = self.confidence.detach() if is_torch(labels) else self.confidence
            weights = xp.broadcast_to(cast_to(confidence, "float64"), labels.shape)
            mass = xp.bincount(labels.reshape(-1), weights.reshape(-1), minlength=len(peaks) + 1)
        return Instances(labels, mass[1:])

    # Single votes

    def voters(self, pixel: Sequence[int], rule: RuleName = "noisy_or") -> Voters:
        """List the sources that voted for an output pixel, the strongest first.

        A source has voted if its confidence is not 0 and the pixel is in the window of its vote. A
        NaN confidence, which makes the pixel NaN, comes before all others.

        Parameters
        ----------
        pixel : sequence of int
            Index into the vote map (..., Ho, Wo): (row, column) where it has no leading axes.
        rule : {'noisy_or', 'additive', 'plain_sum'}
            How the votes combine.

        Returns
        -------
        Voters
            In float64 NumPy arrays, whatever library the fields are of.

        Raises
        ------
        ValueError
            If there is no such rule.
        IndexError
            If the vote map has no such pixel.

        Examples
        --------
        >>> import mdn_cupy as mdn
        >>> votes = mdn.samples.load("pose").votes("nose", sigma=8.0)
        >>> who = votes.voters((95, 166))
        >>> len(who), who.source[0].tolist(), float(who.share[0].round(2))
        (62, [6, 10], 0.24)
        >>> s = votes.additive()[95, 166]
        >>> bool(abs(votes.voters((95, 166), "additive").evidence - s) < 1e-5)
        True
        """
        from mdn_cupy.provenance import voters

        return voters(self._on_cpu(), pixel, rule_of(rule))

    def footprint(self, source: Sequence[int], rule: RuleName = "noisy_or") -> Footprint:
        """Find where one source's vote lands and what it adds to the pixels that it reaches.

        Parameters
        ----------
        source : sequence of int
            Index into the broadcast confidence shape (..., H, W): (row, column) where the fields
            have no leading axes.
        rule : {'noisy_or', 'additive', 'plain_sum'}
            How the votes combine.

        Returns
        -------
        Footprint
            In float64. The window of a source that casts no vote, since its position is not finite
            or its sigma not positive, is empty.

        Raises
        ------
        ValueError
            If there is no such rule.
        IndexError
            If the fields have no such source.

        Examples
        --------
        >>> import mdn_cupy as mdn
        >>> votes = mdn.samples.load("pose").votes("nose", sigma=8.0)
        >>> vote = votes.footprint((6, 10))
        >>> [round(p, 1) for p in vote.landing]
        [166.1, 95.1]
        >>> vote.share(votes.evidence()).shape == votes.noisy_or()[vote.window].shape == (64, 64)
        True
        """
        from mdn_cupy.provenance import footprint

        return footprint(self._on_cpu(), source, rule_of(rule))

    # Other votes

    def replace(self, **changes: Unpack[_VotesKwargs]) -> Votes:
        """Return votes with some arguments replaced, which are checked.

        Parameters
        ----------
        **changes
            Arguments of `Votes` by name.

        Examples
        --------
        >>> import mdn_cupy as mdn
        >>> votes = mdn.samples.load("pose").votes("nose", sigma=8.0)
        >>> votes.replace(sigma=12.0, truncate=3.0).sigma
        12.0
        """
        given = {name: getattr(self, name) for name in _FIELDS}
        return called("Votes.replace", type(self), **{**given, **self.named, **changes})

    def crop(self, rows: slice, columns: slice) -> Votes:
        """Return the votes for a part of the map, or for every n-th of its pixels.

        That is the same problem with its origin moved and, since a weight depends on distance over
        sigma only, with stride, origin, offsets and sigma divided by the step.

        Parameters
        ----------
        rows, columns : slice
            Which rows and columns of the map, as in ``m[..., rows, columns]``; both of one step,
            from 1 on.

        Returns
        -------
        Votes
            Its maps equal the whole map there, m on the CPU to 1e-7 (1e-6 with a step). Only the
            additive map, a density per pixel, is step² times the whole one: so much larger are its
            pixels. A pixel on the very edge of a vote's window may be in it here and not there,
            unless the moved positions are exact, as those of float32 fields are for any step that
            is a power of two; it then differs by what such a vote weighs, c·exp(−truncate²/2).

        Raises
        ------
        TypeError
            If an argument is no slice of integers.
        ValueError
            If the steps differ, or are less than 1.

        Examples
        --------
        >>> import numpy as np
        >>> import mdn_cupy as mdn
        >>> votes = mdn.samples.load("pose").votes("nose", sigma=8.0)
        >>> part = votes.crop(slice(80, 120), slice(150, None)).noisy_or()
        >>> bool(np.allclose(part, votes.noisy_or()[80:120, 150:], atol=1e-7))
        True
        >>> coarse = votes.crop(slice(None, None, 4), slice(None, None, 4)).noisy_or()
        >>> bool(np.allclose(coarse, votes.noisy_or()[::4, ::4], atol=1e-6))
        True
        """
        height, width = self.shape[-2:]
        y, x = crop_range("rows", rows, height), crop_range("columns", columns, width)
        if y.step != x.step:
            raise ValueError(
                f"rows and columns must have the same step, since sigma is one width for both "
                f"axes, got {y.step} and {x.step}"
            )
        step, stride, (top, left) = y.step, cast(Pair, self.stride), cast(Pair, self.origin)
        origin = top - y.start, left - x.start
        changes: dict[str, Any] = {"origin": origin, "output_shape": (len(y), len(x))}
        if step > 1:
            pairs = {"stride": stride, "origin": origin}
            changes |= {name: (pair[0] / step, pair[1] / step) for name, pair in pairs.items()}
            given = {"offsets": self.offsets, "sigma": self.sigma}
            with on_device(self.confidence):
                for name, value in given.items():
                    wide = value if is_number(value) else cast_to(value, self.dtype)
                    changes[name] = wide / step
        return self.replace(**changes)

    def to(self, device: Any) -> Votes:
        """Return the same votes on another device.

        Parameters
        ----------
        device : {'cuda', 'cpu'}
            NumPy arrays become CuPy arrays on CuPy's current device, and the other way round.
            Tensors take any device that torch knows, and keep their graph.

        Raises
        ------
        RuntimeError
            If no GPU can be used here; the message says why.
        ValueError, TypeError
            If the device is another word, or none.
        """
        arrays = _arrays(self)
        if is_torch(self.confidence):
            # By a dtype or a tensor, torch would convert them, and leave them in place for None.
            if not isinstance(device, (str, int, namespace(self.confidence).device)):
                raise TypeError(f"device must be a device of torch's, got {device!r}")
            moved = {name: array.to(device) for name, array in arrays.items()}
        elif device in ("cpu", "cuda"):
            move = to_gpu if device == "cuda" else to_numpy
            moved = {name: move(array, name) for name, array in arrays.items()}
        else:
            raise ValueError(f"device must be 'cpu' or 'cuda', got {device!r}")
        return self.replace(**moved)

    def check(self) -> None:
        """Look at every value, and raise ValueError for what lies outside the domain of the votes.

        See `mdn_cupy.check_fields`. No other method does this: it has to wait for the GPU.
        """
        check_fields(self.confidence, self.offsets, self.sigma)

    # Shape and text

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape (..., Ho, Wo) of the vote maps."""
        return tuple(self._problem.result_shape)

    @property
    def dtype(self) -> np.dtype[np.floating]:
        """The dtype of the maps: float64 if a field is, else float32."""
        dtype: np.dtype[np.floating] = self._problem.dtype
        return dtype

    def __repr__(self) -> str:
        """Describe the arrays by dtype and shape, without their values."""
        return f"Votes({', '.join(f'{name}={text}' for name, text in self._described())})"

    def _repr_html_(self) -> str:
        """Return a table for a notebook, beside a picture of the first noisy-or map."""
        from mdn_cupy.notebook import as_html

        drawn = 0 < math.prod(self.shape) <= _MOST_DRAWN
        m = to_numpy(self.noisy_or()).reshape(-1, *self.shape[-2:])[0] if drawn else None
        return as_html(self._described(), m)

    def _described(self) -> list[tuple[str, str]]:
        """Name and text of the fields, of options that are not at their default, and of the map."""
        values = {name: getattr(self, name) for name in _FIELDS}
        given = [(n, f"{x:g}" if is_number(x) else in_words(x)) for n, x in values.items()]
        made = [("map", f"{self.dtype} {[*self.shape]}"), ("backend", self._backend)]
        return [*given, *self.described, *made]

    @property
    def _module(self) -> Any:
        return _engine(self._backend)

    def _accumulate(self, rule: Rule) -> Array:
        self._problem.check_rule(rule, self.sigma)
        return self._module.accumulate(self._problem, rule)

    def _gather(self, rule: Rule, cotangent: Array) -> Gradients:
        gradients: Gradients = self._module.gather(self._problem, rule, cotangent)
        return gradients

    def _map(self, name: str, value: Array) -> Array:
        """Adopt an array that must have the shape, library and device of the vote map."""
        _, arrays = adopt(confidence=self.confidence, **{name: value})
        self._problem.check_map(name, arrays[name])
        return cast_to(arrays[name], self.dtype)

    def _on_cpu(self) -> Any:
        """The problem in NumPy arrays."""
        arrays = {name: to_numpy(array, name) for name, array in _arrays(self).items()}
        return vote_problem(**{"sigma": self.sigma, **arrays}, options=self)


Votes.replace.__signature__ = spelled_out(  # type: ignore[attr-defined]
    Votes.replace, Votes, default=...
)


def _arrays(votes: Votes) -> dict[str, Array]:
    """The fields that are arrays, by name."""
    return {name: x for name in _FIELDS if not is_number(x := getattr(votes, name))}


def _engine(backend: Backend | Literal["torch"]) -> Any:
    """The module that computes on the arrays of a backend."""
    if backend == "torch":
        from mdn_cupy.torch import engine  # a statement, which torch.compile traces

        return engine
    return module(backend)
