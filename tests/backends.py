"""The ways to vote, each behind the same functions: NumPy arrays in, NumPy arrays out.

A test that takes the fixture `backend` runs once with each. To add one, add it to `BACKENDS`.
"""

from typing import Any

import numpy as np
import torch

import mdn_cupy as mdn

PEAK_COLUMNS = ("map", "x", "y", "score", "evidence")


class Backend:
    """The public functions on NumPy arrays: the CPU backend."""

    kind: type = np.ndarray
    float64_tolerance = 1e-12

    def array(self, x: Any) -> Any:
        """This backend's array of a NumPy array, in the same strides where it can have them."""
        return x

    def to_numpy(self, x: Any) -> np.ndarray:
        assert isinstance(x, self.kind)
        return np.asarray(x)

    def map(self, rule: str, *fields: Any, **options: Any) -> np.ndarray:
        """The map of a rule, or L."""
        return self._out(getattr(self.votes(*fields, **options), rule)())

    def compare(self, rule: str, *fields: Any, **options: Any) -> tuple[np.ndarray, ...]:
        return self._out(self.votes(*fields, **options).compare(rule))

    def vjp(self, rule: str, cotangent: Any, *fields: Any, **options: Any) -> mdn.Gradients:
        votes = self.votes(*fields, **options)
        return self._out(getattr(votes, f"{rule}_vjp")(self.array(cotangent)))

    def votes(self, *fields: Any, **options: Any) -> mdn.Votes:
        return mdn.Votes(*self._in(fields), **options)

    def find_peaks(self, evidence: Any, **options: Any) -> mdn.Peaks:
        given = {k: self.array(x) if isinstance(x, np.ndarray) else x for k, x in options.items()}
        peaks = mdn.find_peaks(self.array(evidence), **given)
        columns = {name: self.to_numpy(getattr(peaks, name)) for name in PEAK_COLUMNS}
        return mdn.Peaks(**columns, maps_shape=peaks.maps_shape)

    def _in(self, fields: tuple[Any, ...]) -> list[Any]:
        return [self.array(x) if isinstance(x, np.ndarray) else x for x in fields]

    def _out(self, result: Any) -> Any:
        if isinstance(result, mdn.Gradients):
            return mdn.Gradients(*(None if g is None else self.to_numpy(g) for g in result))
        if isinstance(result, tuple):
            return tuple(self.to_numpy(x) for x in result)
        return self.to_numpy(result)


class TorchCpu(Backend):
    """Tensors on the CPU; the gradients are autograd's."""

    kind = torch.Tensor

    def array(self, x: Any) -> torch.Tensor:
        shares = x.flags.writeable and all(stride >= 0 for stride in x.strides)
        return torch.from_numpy(x if shares else x.copy())

    def to_numpy(self, x: Any) -> np.ndarray:
        assert isinstance(x, torch.Tensor)
        return x.detach().numpy()

    def vjp(self, rule: str, cotangent: Any, *fields: Any, **options: Any) -> mdn.Gradients:
        dtype = np.result_type(*fields[:2], np.float32)
        tensors = [
            self.array(np.asarray(x, None if isinstance(x, np.ndarray) else dtype))
            .detach()
            .requires_grad_()
            for x in fields
        ]
        result = getattr(mdn.Votes(*tensors, **options), rule)()
        gradients = torch.autograd.grad(result, tensors, self.array(cotangent).to(result.dtype))
        return self._out(mdn.Gradients(*gradients))


class Cupy(Backend):
    """CuPy arrays in, CuPy arrays out."""

    float64_tolerance = 1e-9

    def array(self, x):
        import cupy

        return cupy.asarray(x)

    def to_numpy(self, x):
        import cupy

        assert isinstance(x, cupy.ndarray)
        return x.get()


class TorchCuda(Cupy):
    """Tensors on the GPU."""

    def array(self, x):
        return torch.from_numpy(np.ascontiguousarray(x)).cuda()

    def to_numpy(self, x):
        assert x.is_cuda
        return x.cpu().numpy()


BACKENDS: dict[str, Backend] = {"cpu": Backend(), "torch-cpu": TorchCpu()}
