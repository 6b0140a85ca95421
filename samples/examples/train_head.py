"""Train a head: a small network learns, through the votes, where a hidden point is.

    python samples/examples/train_head.py -o train_head.png

Each picture shows a ring, and a patch that covers its middle. A cell of the network sees 13 × 13
pixels, so in the middle little but the patch: votes from the rim say where the centre is.
"""

import argparse

import numpy as np
import torch
from matplotlib.figure import Figure

import mdn_cupy as mdn

SIZE, RADIUS, STEPS, BATCH = 48, 11, 120, 8


def main(arguments=None):
    """Train, print the mean error, and draw the loss and three test pictures."""
    parser = argparse.ArgumentParser(description="Train MDNKeypointHead to find hidden centres.")
    parser.add_argument("-o", "--output", default="train_head.png", help="picture to write")
    parser.add_argument("--steps", type=int, default=STEPS, help="steps of training")
    options = parser.parse_args(arguments)

    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    network = torch.nn.Sequential(
        torch.nn.Conv2d(1, 24, 5, padding=2, stride=2),
        torch.nn.ReLU(),
        torch.nn.Conv2d(24, 24, 5, padding=2),
        torch.nn.ReLU(),
        mdn.torch.MDNKeypointHead(24, parts=1, stride=2),
    )
    body, head = network[:-1], network[-1]
    optimizer = torch.optim.Adam(network.parameters(), lr=3e-3)
    losses = []
    for _ in range(options.steps):
        pictures, centres = rings(rng, BATCH)
        log_complement = head.log_complement(body(pictures))  # L = log(1 - m), [N, 1, 48, 48]
        loss = mdn.torch.noisy_or_bce(log_complement, blobs(centres))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())

    pictures, centres = rings(np.random.default_rng(1), 64)
    with torch.inference_mode():
        evidence = -head.log_complement(body(pictures))
        found, _ = mdn.torch.subpixel_argmax(evidence)
    error = (found[:, 0] - centres).norm(dim=1)
    print(f"mean error {error.mean():.2f} px, at most {error.max():.2f} px, on 64 test pictures")

    figure = Figure((11, 3.2), layout="constrained")
    first, *others = figure.subplots(1, 4)
    first.plot(losses)
    first.set(title="loss", xlabel="step", yscale="log")
    for n, axes in enumerate(others):
        axes.imshow(pictures[n, 0], cmap="gray", vmin=0, vmax=1)
        axes.imshow(1 - torch.exp(-evidence[n, 0]), cmap="inferno", alpha=0.5, vmin=0, vmax=1)
        axes.plot(*centres[n], "o", color="lime", fillstyle="none", markersize=12, label="truth")
        axes.plot(*found[n, 0], "+", color="cyan", markersize=12, label="found")
        axes.set(xticks=[], yticks=[], title=f"off by {error[n]:.2f} px")
    others[-1].legend(loc="lower right")
    figure.savefig(options.output, dpi=100)


def rings(rng, count):
    """Return pictures [N, 1, H, W] of rings with covered centres, and the centres [N, 2]: x, y."""
    centres = rng.uniform(RADIUS + 2, SIZE - RADIUS - 3, (count, 2))
    y, x = np.mgrid[:SIZE, :SIZE]
    distance = np.hypot(x - centres[:, 0, None, None], y - centres[:, 1, None, None])
    pictures = 0.3 + 0.5 * np.exp(-((distance - RADIUS) ** 2) / 3)
    shift = rng.uniform(-2, 2, (count, 2))  # the patch is not centred: it tells nothing
    beside = np.hypot(*np.moveaxis(np.stack([x, y]) - (centres + shift)[..., None, None], 1, 0))
    pictures[beside < 7] = 0.1
    pictures += rng.normal(0, 0.03, pictures.shape)
    return torch.tensor(pictures[:, None]).float(), torch.tensor(centres).float()


def blobs(centres):
    """Return the target: a Gaussian of 2 pixels around each centre, [N, 1, H, W]."""
    y, x = torch.meshgrid(torch.arange(SIZE), torch.arange(SIZE), indexing="ij")
    squares = (x - centres[:, 0, None, None]) ** 2 + (y - centres[:, 1, None, None]) ** 2
    return torch.exp(-squares / (2 * 2.0**2))[:, None]


if __name__ == "__main__":
    main()
