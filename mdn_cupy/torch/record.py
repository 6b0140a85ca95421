"""Keep what the voting layers of a model get, for the viewer and for `.mdn` files."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial, wraps
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from mdn_cupy.fields import Fields
from mdn_cupy.torch.heads import MDNKeypointHead, VoteFields
from mdn_cupy.torch.modules import MassDisplacement
from mdn_cupy.validation import check_count
from mdn_cupy.votes import Votes

__all__ = ["RecordedVotes", "record"]

_COMPILED = "_orig_mod."  # what torch.compile puts before the names of a model's modules


@dataclass(frozen=True, repr=False, eq=False)
class RecordedVotes:
    """What a voting layer got in one call: detached copies, on the layer's own device.

    Attributes
    ----------
    layer : str
        The name of the module in the model; "" for the model itself.
    confidence : Tensor [..., P, H, W]
        Confidences c. A head has one batch axis, N.
    offsets : Tensor [..., P, 2, H, W]
        (o_x, o_y) in output pixels.
    sigma : Tensor
        Width of the Gaussian, in output pixels; broadcasts against the votes' confidence.
    options : dict
        truncate, stride, origin, output_shape, aggregate and deterministic, as in `mdn_cupy.Votes`.
    cross_offsets : Tensor [N, P, P, 2, H, W] or None
        [:, k, p] is part p's offset to part k, where the layer is a head with edges.
    trust : Tensor [P, P] or None
        [k, p] is the factor of part p's confidence in votes for part k, where there are edges.
    images : list of Tensor [C, Hi, Wi]
        What the model was called with, as far as that is images; else empty.
    boxes : list of Tensor [n, 4]
        For each image, the regions (x0, y0, x1, y1) in its pixels, of which the layer has one
        field set each; empty where the model pools no regions.
    """

    layer: str
    confidence: Tensor
    offsets: Tensor
    sigma: Tensor
    options: dict[str, Any]
    cross_offsets: Tensor | None
    trust: Tensor | None
    images: list[Tensor]
    boxes: list[Tensor]

    def __repr__(self) -> str:
        """Name the layer, and the shape of its confidences."""
        return f"RecordedVotes(layer={self.layer!r}, confidence={[*self.confidence.shape]})"

    def votes(self) -> Votes:
        """Return exactly the votes that the layer cast, for all of the batch."""
        confidence, offsets = self.confidence, self.offsets
        if self.cross_offsets is not None and self.trust is not None:
            confidence = confidence[:, None] * self.trust[..., None, None]
            offsets = self.cross_offsets
        return Votes(confidence, offsets, self.sigma, **self.options)

    def fields(self, target: int | None = None) -> list[Fields]:
        """Return a field set for each member of the batch: an image, or a region of one.

        Its image is the one that the model was called with, or the region's, averaged over the
        output's pixels, where there is one of the kind for each member.

        Parameters
        ----------
        target : int, optional
            Of a head with edges, the part that is voted for: the field set then has the votes of
            all parts for it, weighed by their trust, and the map of all its parts together is the
            layer's map of the target. By default each part has its own votes, and votes for others
            are in `cross_offsets`, in which nothing tells of the trust.

        Raises
        ------
        ValueError
            If there is no such part, or the layer is no head with edges.
        """
        confidence, offsets, sigma, cross = self._voting(target)
        shape = torch.broadcast_shapes(confidence.shape, offsets.select(-3, 0).shape)
        shape = (1,) * (3 - len(shape)) + tuple(shape)  # one part at least
        parts, height, width = shape[-3:]
        c = confidence.expand(shape).reshape(-1, parts, height, width)
        o = offsets.expand(*shape[:-2], 2, height, width).reshape(-1, parts, 2, height, width)
        widths = sigma.reshape((1,) * max(0, 3 - sigma.ndim) + tuple(sigma.shape))
        rest = widths.shape[-2:]
        widths = widths.expand(*shape[:-2], *rest).reshape(-1, parts, *rest)
        images = self._pictures(len(c))
        what = self.layer or "the model"
        geometry = {key: self.options[key] for key in ("stride", "origin")}
        return [
            Fields(
                _array(c[n]),
                _array(o[n]),
                None if cross is None else _array(cross[n]),
                images[n],
                sigma=float(sigma) if sigma.numel() == 1 else _array(widths[n]),
                source=f"{what}, {n + 1} of {len(c)}",
                output_shape=self._size if images[n] is None else None,
                **geometry,
            )
            for n in range(len(c))
        ]

    @property
    def _size(self) -> tuple[int, int]:
        """Rows and columns of the output."""
        rows, columns = self.votes().shape[-2:]
        return rows, columns

    def _voting(self, target: int | None) -> tuple[Tensor, Tensor, Tensor, Tensor | None]:
        """Return confidence, offsets, sigma, and the offsets to other parts if they are wanted."""
        cross, sigma = self.cross_offsets, self.sigma
        if cross is None or self.trust is None:
            if target is not None:
                raise ValueError(f"target must be left out: {self.layer!r} is no head with edges")
            return self.confidence, self.offsets, sigma, None
        pairwise = sigma.ndim == 4  # (P, P, 1, 1)
        if target is None:
            own = sigma.diagonal().permute(2, 0, 1) if pairwise else sigma
            return self.confidence, self.offsets, own, cross
        if check_count("target", target, 0) >= len(self.trust):
            raise ValueError(f"target must be one of 0 … {len(self.trust) - 1}, got {target}")
        confidence = self.confidence * self.trust[target][:, None, None]
        return confidence, cross[:, target], sigma[target] if pairwise else sigma, None

    def _pictures(self, count: int) -> Sequence[npt.NDArray[Any] | None]:
        """Return a picture of the output's size for each field set, as far as they are known."""
        if sum(map(len, self.boxes)) == count and len(self.boxes) == len(self.images):
            from torchvision.ops import roi_align

            pairs = zip(self.images, self.boxes, strict=True)
            crops = [
                roi_align(_unit(image)[None], [boxes.to(image.device)], self._size, aligned=True)
                for image, boxes in pairs
            ]
            return [_picture(crop) for of_image in crops for crop in of_image]
        if len(self.images) == count:
            size = self._size
            resized = (
                nn.functional.interpolate(_unit(x)[None], size, mode="area") for x in self.images
            )
            return [_picture(x[0]) for x in resized]
        return [None] * count


@contextmanager
def record(model: nn.Module) -> Iterator[list[RecordedVotes]]:
    """Keep what every voting layer of a model gets, while the context is open.

    The layers are `MassDisplacement` and `MDNKeypointHead`, wherever in the model they are; what
    they compute, and their gradients, do not change. In torchvision's detectors each field set
    gets the region of the image that it is of.

    Parameters
    ----------
    model : torch.nn.Module
        The model, compiled or not.

    Yields
    ------
    list of RecordedVotes
        One for each call of a layer, in the order of the calls; empty at first.

    Raises
    ------
    TypeError
        If it is no module.
    ValueError
        If no layer in it votes.

    Examples
    --------
    >>> import torch
    >>> import mdn_cupy as mdn
    >>> network = torch.nn.Sequential(
    ...     torch.nn.Conv2d(3, 8, 3, stride=4, padding=1), mdn.torch.MDNKeypointHead(8, parts=3)
    ... )
    >>> with mdn.torch.record(network) as calls:
    ...     logits = network(torch.rand(2, 3, 64, 64))
    >>> calls
    [RecordedVotes(layer='1', confidence=[2, 3, 16, 16])]
    >>> first, second = calls[0].fields()
    >>> first.image.shape, first.confidence.shape
    ((64, 64, 3), (3, 16, 16))

    `mdn_viewer.show(calls[0].fields())` shows both, ``mdn.save_fields("batch.mdn", …)`` keeps them.
    """
    if not isinstance(model, nn.Module):
        raise TypeError(f"model must be a torch.nn.Module, got {type(model).__name__}")
    recorder = _Recorder()
    heads = {id(m.displacement) for m in model.modules() if isinstance(m, MDNKeypointHead)}
    with ExitStack() as stack:
        voting = 0
        for name, module in model.named_modules():
            layer = name.replace(_COMPILED, "")
            if isinstance(module, MDNKeypointHead):
                keep, methods = partial(recorder.head, layer, module), ["vote"]
                stack.enter_context(_after(module, methods, keep))
                voting += 1
            elif isinstance(module, MassDisplacement) and id(module) not in heads:
                keep, methods = partial(recorder.votes, layer, module), ["forward", "votes"]
                stack.enter_context(_after(module, methods, keep))
                voting += 1
            elif _pools_regions(module):
                stack.enter_context(
                    module.register_forward_pre_hook(recorder.regions, with_kwargs=True)
                )
        if not voting:
            raise ValueError(
                f"no layer of {type(model).__name__} votes: it has neither a MassDisplacement nor "
                "an MDNKeypointHead"
            )
        stack.enter_context(model.register_forward_pre_hook(recorder.called, with_kwargs=True))
        yield recorder.calls


class _Recorder:
    """Collect calls of layers, and the images and regions that came before them."""

    def __init__(self) -> None:
        self.calls: list[RecordedVotes] = []
        self._images: list[Tensor] = []
        self._boxes: list[Tensor] = []

    def called(self, _: nn.Module, given: tuple[Any, ...], named: dict[str, Any]) -> None:
        """Take the images from the arguments of the model."""
        first = next(iter((*given, *named.values())), None)
        images = [*first] if isinstance(first, (Tensor, list, tuple)) else []
        are = all(isinstance(x, Tensor) and x.ndim == 3 and len(x) in (1, 3, 4) for x in images)
        self._images = [_kept(image) for image in images] if are else []
        self._boxes = []

    def regions(self, _: nn.Module, given: tuple[Any, ...], named: dict[str, Any]) -> None:
        """Take the regions that are pooled, in pixels of the images and not of resized ones."""
        wanted = zip(("x", "boxes", "image_shapes"), given, strict=False)
        arguments = {**dict(wanted), **named}
        boxes, sizes = arguments["boxes"], arguments["image_shapes"]
        if len(boxes) != len(self._images):
            self._boxes = []
            return
        self._boxes = [
            _kept(box)
            * box.new_tensor([image.shape[-1] / size[1], image.shape[-2] / size[0]]).repeat(2)
            for box, size, image in zip(boxes, sizes, self._images, strict=True)
        ]

    def head(self, layer: str, head: MDNKeypointHead, fields: VoteFields) -> None:
        """Keep what a head votes with."""
        s_y, s_x = head.stride
        rows, columns = fields[0].shape[-2:]
        options = {**head.displacement.options.named, "output_shape": (s_y * rows, s_x * columns)}
        self._keep(
            layer,
            options,
            confidence=fields[0],
            offsets=fields[1],
            sigma=head.displacement.sigma,
            cross_offsets=fields[2],
            trust=None if fields[2] is None else head.trust,
        )

    def votes(
        self,
        layer: str,
        module: MassDisplacement,
        confidence: Tensor,
        offsets: Tensor,
        **options: Any,
    ) -> None:
        """Keep what a layer votes with."""
        options = {**module.options.named, **options}
        self._keep(layer, options, confidence=confidence, offsets=offsets, sigma=module.sigma)

    def _keep(self, layer: str, options: dict[str, Any], **given: Tensor | None) -> None:
        tensors: dict[str, Any] = {"cross_offsets": None, "trust": None}
        tensors |= {name: _kept(tensor) for name, tensor in given.items() if tensor is not None}
        now: dict[str, Any] = {"options": options, "images": self._images, "boxes": self._boxes}
        self.calls.append(RecordedVotes(layer, **tensors, **now))


@contextmanager
def _after(module: nn.Module, methods: list[str], keep: Callable[..., None]) -> Iterator[None]:
    """Call a function with the arguments of methods, each time that one has returned.

    A hook of torch's is called by `module(...)` only, and heads are trained by `log_complement`.
    """

    def wrapped(original: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(original)
        def kept(*given: Any, **named: Any) -> Any:
            result = original(*given, **named)
            keep(*given, **named)
            return result

        return kept

    def state() -> dict[str, Any]:
        # What is pickled and copied meanwhile: a copy would vote by what is wrapped of this module.
        return {name: x for name, x in vars(module).items() if name not in names}

    names = {"__getstate__": state, **{n: wrapped(getattr(module, n)) for n in methods}}
    before = {name: vars(module).get(name) for name in names}  # of a context around this one
    vars(module).update(names)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del vars(module)[name]
            else:
                vars(module)[name] = value


def _pools_regions(module: nn.Module) -> bool:
    torchvision = sys.modules.get("torchvision")
    return torchvision is not None and isinstance(module, torchvision.ops.MultiScaleRoIAlign)


def _kept(tensor: Tensor) -> Tensor:
    return tensor.detach().clone()


def _array(tensor: Tensor) -> npt.NDArray[Any]:
    """Return an array; NumPy has no bfloat16."""
    tensor = tensor.float() if tensor.dtype in (torch.float16, torch.bfloat16) else tensor
    array: npt.NDArray[Any] = tensor.cpu().numpy()
    return array


def _unit(image: Tensor) -> Tensor:
    """Bring an image to float32 in [0, 1]; a normalised one by its lowest and highest value."""
    if image.dtype is torch.uint8:
        return image.float() / 255
    low, high = image.aminmax()
    if low >= 0 and high <= 1:
        return image.float()
    return (image.float() - low) / (high - low).clamp(min=torch.finfo(torch.float32).tiny)


def _picture(image: Tensor) -> npt.NDArray[Any]:
    """Return [C, H, W] in [0, 1] as bytes: [H, W], [H, W, 3] or [H, W, 4]."""
    pixels = _array(image.clamp(0, 1)).transpose(1, 2, 0)
    pixels = pixels[..., 0] if pixels.shape[-1] == 1 else pixels
    colours: npt.NDArray[np.uint8] = np.rint(255 * pixels).astype(np.uint8)
    return colours
