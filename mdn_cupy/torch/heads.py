"""A keypoint head that votes: features in, logit maps out."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple, NoReturn

import torch
from torch import Tensor, nn

from mdn_cupy.arrays import integer
from mdn_cupy.torch.checks import check_dtype, check_floating, is_jit_tracing, refuse_script
from mdn_cupy.torch.functional import logit
from mdn_cupy.torch.modules import MassDisplacement, Sigma, vote
from mdn_cupy.validation import check_count, shown_pair

__all__ = ["MDNKeypointHead", "VoteFields"]

for _name in ("_check_features", "_joined", "_spread", "_trust", "logit", "vote"):
    torch.fx.wrap(_name)  # one node of a graph that torch.fx traces

_INITIAL_TRUST = 0.3  # in what another part says


class VoteFields(NamedTuple):
    """What a keypoint head predicts, in output pixels.

    Attributes
    ----------
    confidence : Tensor [N, P, H, W]
        Confidences c of P parts.
    offsets : Tensor [N, P, 2, H, W]
        (o_x, o_y) of every part to itself.
    cross_offsets : Tensor [N, P, P, 2, H, W] or None
        [:, k, p] is part p's offset to part k, NaN for pairs that are no edge; its diagonal is
        `offsets`. None for a head without edges.
    """

    confidence: Tensor
    offsets: Tensor
    cross_offsets: Tensor | None


class MDNKeypointHead(nn.Module):
    """Predict confidences and offsets from features, vote, and return logits of the vote maps.

    Every cell of the features is a source: two 1 × 1 convolutions predict its confidence and its
    offset for every part, and the votes land on a map `stride` times as fine, at sub-pixel
    precision. With stride 4 it takes the place of torchvision's KeypointRCNNPredictor: features
    (N, C, 14, 14) to logits (N, P, 56, 56).

    With `edges`, parts vote for each other too: part p supports its neighbour k at x + o_kp(x) with
    the confidence t_kp·c_p(x), where the trust t_kp in [0, 1] is learned, one for every direction
    of every edge.

    Before training the offsets are about 0, and all confidences so low that 0.1 votes are expected
    at a pixel: Σ w·c, which is c·2πσ²/(stride_y·stride_x) times the parts that vote for one. A
    noisy-or of hundreds of sources at a confidence of 0.5 is saturated, and its gradient is 0.

    Parameters
    ----------
    in_channels : int
        Channels C of the features.
    parts : int
        Number P of parts.
    stride : int or (int, int)
        Output pixels per feature cell: along each axis, or a pair (y, x). For a denser grid of
        sources, upsample the features before the head.
    sigma : float or nested sequence of float
        Width of the Gaussian, in output pixels: one, one per voting part [P], or, with edges, one
        per part voted for and voting part [P, P].
    learnable : bool
        Whether sigma is learned; see `MassDisplacement`.
    edges : iterable of (int, int)
        Pairs of parts that vote for each other; none, or None, for within-part voting. All pairs
        are ``itertools.combinations(range(parts), 2)``. Order and direction make no difference, and
        a checkpoint of other edges is refused.
    device, dtype
        Of the parameters, as for torch's own modules. A head made on "meta" gets its values from
        `to_empty` and `reset_parameters`, or from a state_dict.

    Raises
    ------
    TypeError
        If sigma is not made of numbers, a size is no whole number, the edges are no pairs, or the
        dtype is not floating.
    ValueError
        If a number is out of range, sigma has another shape, or an edge does not join two of the
        parts.

    Examples
    --------
    >>> import torch
    >>> import mdn_cupy as mdn
    >>> head = mdn.torch.MDNKeypointHead(8, parts=3, stride=4, edges=[(0, 1), (1, 2)])
    >>> features = torch.randn(2, 8, 14, 14)
    >>> logits = head(features)
    >>> logits.shape
    torch.Size([2, 3, 56, 56])
    >>> loss = torch.nn.functional.binary_cross_entropy_with_logits(
    ...     logits, torch.zeros_like(logits)
    ... )
    >>> fields = head.fields(features)
    >>> fields.cross_offsets.shape
    torch.Size([2, 3, 3, 2, 14, 14])
    >>> mdn.torch.subpixel_argmax(-head.vote(fields)).positions.shape
    torch.Size([2, 3, 2])
    """

    initial_votes = 0.1  # expected at a pixel before training

    trust_logit: nn.Parameter | None

    places: Tensor
    voters: Tensor

    def __init__(
        self,
        in_channels: int,
        parts: int,
        *,
        stride: int | Sequence[int] = 4,
        sigma: Sigma = 2.0,
        learnable: bool = False,
        edges: Iterable[tuple[int, int]] | None = (),
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        check_dtype(dtype)
        in_channels = check_count("in_channels", in_channels)
        self.parts = parts = check_count("parts", parts)
        self.stride = stride = _counts("stride", stride)
        self.pairs = _directed(() if edges is None else edges, parts)
        channels = parts + len(self.pairs)
        self.confidence = nn.Conv2d(in_channels, parts, 1, device=device, dtype=dtype)
        self.offsets = nn.Conv2d(in_channels, 2 * channels, 1, device=device, dtype=dtype)
        # On the CPU, since the host would wait for an index that came from a GPU.
        # Saved with the edges, which give the channels their meaning.
        self.register_buffer("places", self._find_places(), persistent=bool(self.pairs))
        self.register_buffer("voters", self._find_voters(), persistent=False)
        trust_logit = torch.empty(len(self.pairs), device=device, dtype=dtype)
        self.trust_logit = nn.Parameter(trust_logit) if self.pairs else None
        self.displacement = MassDisplacement(
            "noisy_or",
            sigma,
            learnable=learnable,
            stride=stride,
            origin=[(step - 1) / 2 for step in stride],  # a source is the centre of its cell
            aggregate=-3 if self.pairs else None,
            device=device,
            dtype=dtype,
        )
        _check_sigma(self.displacement.initial_sigma, parts, bool(self.pairs))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Start from offsets of about 0 and from few expected votes at every pixel."""
        self.displacement.reset_parameters()
        if self.trust_logit is not None:
            nn.init.constant_(self.trust_logit, math.log(_INITIAL_TRUST / (1 - _INITIAL_TRUST)))
        sigma = float(self.displacement.initial_sigma.max())
        sources = max(1.0, 2 * math.pi * sigma**2 / math.prod(self.stride))  # Σ w at a pixel
        neighbours = max(Counter(k for k, _ in self.pairs).values(), default=0)
        voters = 1 + _INITIAL_TRUST * neighbours
        confidence_bias = -math.log(sources * voters / self.initial_votes - 1)
        # As wide as torch's own start: with 0.001 the features learn late, since little gradient
        # comes through to them (docs/training_figures.md, "What brought the votes … level").
        wide = 1 / math.sqrt(3 * self.confidence.in_channels)
        for convolution, std, bias in (
            (self.confidence, wide, confidence_bias),
            (self.offsets, 1e-3, 0.0),
        ):
            nn.init.normal_(convolution.weight, std=std)
            assert convolution.bias is not None
            nn.init.constant_(convolution.bias, bias)

    def forward(self, features: Tensor) -> Tensor:
        """Vote: features [N, C, H, W] to logits [N, P, stride_y·H, stride_x·W]; see `logit`."""
        return logit(self.log_complement(features))

    # Types and not their names, which torch.fx would save as text and could not read again.
    forward.__annotations__.update(features=Tensor, **{"return": Tensor})

    def log_complement(self, features: Tensor) -> Tensor:
        """L of the vote maps, for `noisy_or_bce`; −L is the evidence, for `subpixel_argmax`."""
        return self.vote(self.fields(features))

    def fields(self, features: Tensor) -> VoteFields:
        """Predict confidences and offsets from features [N, C, H, W]."""
        _check_features(features)
        confidence = torch.sigmoid(self.confidence(features))
        cells = self.offsets(features).unflatten(1, (-1, 2))  # o_x, o_y in cells
        s_y, s_x = self.stride
        every = torch.stack([s_x * cells[:, :, 0], s_y * cells[:, :, 1]], 2)
        offsets = every[:, : self.parts]
        if not self.pairs:
            return VoteFields(confidence, offsets, None)
        return VoteFields(confidence, offsets, _spread(every, self.places, self.parts))

    def vote(self, fields: VoteFields) -> Tensor:
        """Vote with fields that `fields` predicted: L [N, P, stride_y·H, stride_x·W]."""
        if not isinstance(fields, tuple) or len(fields) != 3:
            raise TypeError(
                "fields must be VoteFields, such as head.fields(features) gives, got "
                f"{type(fields).__name__}"
            )
        confidence, offsets, cross_offsets = fields
        if (cross_offsets is None) == bool(self.pairs):
            wanted = "offsets along the edges" if self.pairs else "None, as the head has no edges"
            raise ValueError(f"cross_offsets must be {wanted}, as head.fields(features) gives them")
        s_y, s_x = self.stride
        size = (s_y * confidence.shape[-2], s_x * confidence.shape[-1])
        sigma = self.displacement.sigma
        if cross_offsets is not None and is_jit_tracing():
            # ONNX files of traced modules keep the sizes of what is flattened as constants.
            confidence, offsets = confidence[:, None] * self.trust[..., None, None], cross_offsets
        elif cross_offsets is not None:
            # Pairs that are no edge are left out: COCO's skeleton has 57 of 289, padded to 85.
            confidence, offsets, sigma = _joined(
                confidence, cross_offsets, self.trust, sigma, self.voters
            )
        options = {**self.displacement.options.named, "output_shape": size}
        return vote("log_complement", confidence, offsets, sigma, options)

    @property
    def trust(self) -> Tensor:
        """How much part p's confidence counts in the vote for part k: [P, P], at most 1."""
        if self.trust_logit is None:
            return torch.eye(self.parts).to(self.confidence.weight)
        return _trust(self.trust_logit, self.places, self.parts)

    def extra_repr(self) -> str:
        """Parts, stride and edges, for `repr`."""
        edges = f", edges={len(self.pairs) // 2}" if self.pairs else ""
        return f"parts={self.parts}, stride={shown_pair(self.stride)}{edges}"

    def _find_places(self) -> Tensor:
        """Where in [voted for, voter] the offsets go: first every part's own, then the pairs'."""
        places = [*((k, k) for k in range(self.parts)), *self.pairs]
        return torch.tensor(places, device="cpu").T.to(self.offsets.weight.device)

    def _find_voters(self) -> Tensor:
        """For every part itself and those joined to it [P, D]; short rows are filled with others.

        Those have offsets of NaN and a trust of 0, and cast no votes.
        """
        joined = [[k, *(p for to, p in self.pairs if to == k)] for k in range(self.parts)]
        most = max(map(len, joined))
        for row in joined:
            row += [p for p in range(self.parts) if p not in row][: most - len(row)]
        return torch.tensor(joined, device="cpu").to(self.offsets.weight.device)

    def _load_from_state_dict(
        self, state: dict[str, Any], prefix: str, metadata: Any, strict: bool, *lists: list[str]
    ) -> None:
        """Load, as torch does, unless the channels belong to the edges of another head."""
        places = state.get(f"{prefix}places")
        if places is None or torch.equal(places.cpu(), self._find_places().cpu()):
            super()._load_from_state_dict(state, prefix, metadata, strict, *lists)
        else:
            edges = [(a, b) for a, b in places.T.tolist() if a < b]
            own = [(a, b) for a, b in self.pairs if a < b]
            lists[-1].append(f"the edges of the checkpoint are {edges}, those of this head {own}")

    def __prepare_scriptable__(self) -> NoReturn:
        refuse_script(self)

    def _apply(self, fn: Callable[..., Any], recurse: bool = True) -> MDNKeypointHead:
        """Move or cast, as torch does; but for this, `to_empty` would leave indices unset."""
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        self.places, self.voters = self._find_places(), self._find_voters()
        return self


def _check_features(features: Tensor) -> None:
    check_floating("features", features)
    if features.ndim != 4:
        shape = tuple(features.shape)
        raise ValueError(f"features must have the shape (N, C, H, W), got {shape}")


def _spread(every: Tensor, places: Tensor, parts: int) -> Tensor:
    """Offsets [N, places, 2, H, W] as [N, P, P, 2, H, W], NaN elsewhere."""
    # Gathered, since scattering makes constants of the sizes in an ONNX file.
    count = places.shape[1]
    channel = torch.full((parts, parts), count, device=places.device)  # the last one is NaN
    channel[places[0], places[1]] = torch.arange(count, device=places.device)
    padded = nn.functional.pad(every, (0, 0, 0, 0, 0, 0, 0, 1), value=math.nan)
    spread: Tensor = padded.index_select(1, channel.flatten()).unflatten(1, (parts, parts))
    return spread


def _joined(
    confidence: Tensor, cross_offsets: Tensor, trust: Tensor, sigma: Tensor, voters: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Confidences, offsets and sigma of the voters [P, D] for each part: [N, P, D, H, W], …"""
    parts, most = voters.shape
    by = voters.flatten()
    pair = (voters + parts * torch.arange(parts, device=by.device)[:, None]).flatten()
    weights = trust.flatten().index_select(0, pair)[:, None, None]
    strength = confidence.index_select(1, by) * weights
    offsets = cross_offsets.flatten(1, 2).index_select(1, pair)
    if sigma.ndim:  # (P, 1, 1) of the voters, or (P, P, 1, 1)
        widths = sigma.expand(parts, parts, 1, 1).flatten(0, 1)
        sigma = widths.index_select(0, pair).unflatten(0, (parts, most))
    return strength.unflatten(1, (parts, most)), offsets.unflatten(1, (parts, most)), sigma


def _trust(trust_logit: Tensor, places: Tensor, parts: int) -> Tensor:
    trust = torch.eye(parts, dtype=trust_logit.dtype, device=trust_logit.device)
    trust[places[0, parts:], places[1, parts:]] = torch.sigmoid(trust_logit)
    return trust


def _directed(edges: Iterable[tuple[int, int]], parts: int) -> list[tuple[int, int]]:
    """Both directions of every edge, as (voted for, voter), in order whatever the edges'."""
    pairs: set[tuple[int, int]] = set()
    try:
        whole = [(integer(a), integer(b)) for a, b in edges]
    except (TypeError, ValueError):
        raise TypeError(f"edges must be pairs of parts, such as [(0, 1)], got {edges!r}") from None
    for a, b in whole:
        if a == b or not (0 <= a < parts and 0 <= b < parts):
            raise ValueError(f"an edge must join two of the parts 0 … {parts - 1}, got {(a, b)}")
        pairs |= {(a, b), (b, a)}
    return sorted(pairs)


def _check_sigma(sigma: Tensor, parts: int, edges: bool) -> None:
    shape, pairwise = tuple(sigma.shape), (parts, parts)
    if shape in ((), (parts,)) or (edges and shape == pairwise):
        return
    allowed = f"(), ({parts},) or {pairwise}" if edges else f"() or ({parts},)"
    hint = "" if edges else f"; {pairwise} takes edges"
    raise ValueError(f"sigma must have the shape {allowed}, got {shape}{hint}")


def _counts(name: str, value: int | Sequence[int]) -> tuple[int, int]:
    """Return a whole number, or a pair (y, x), as a pair."""
    y, x = value if isinstance(value, Sequence) and len(value) == 2 else (value, value)
    remedy = "one counts for both axes, two are (y, x)"
    return check_count(name, y, remedy=remedy), check_count(name, x, remedy=remedy)
