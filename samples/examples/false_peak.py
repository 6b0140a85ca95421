"""Debug a false peak: which sources made it, and what the map is without them.

    python samples/examples/false_peak.py -o false_peak.png
    python samples/examples/false_peak.py --window        # the same question in the viewer

The fields of the sample `pose`, with a fault: on the suit one cell is certain of a nose that is not
there. The map shows two noses. The table of the false one's voters has a single source with all of
the evidence: an overconfident cell, and not many that agree.
"""

import argparse
from dataclasses import replace

from matplotlib.figure import Figure

import mdn_cupy as mdn

SIGMA, THRESHOLD = 8.0, 2.3  # pixels; evidence, which is m of 0.9
CELL = (15, 17)  # row and column, on the suit


def main(arguments=None):
    """Find the false peak and its source, and draw the map with it and without it."""
    parser = argparse.ArgumentParser(description="Find out which sources made a false peak.")
    parser.add_argument("-o", "--output", default="false_peak.png", help="picture to write")
    parser.add_argument("--window", action="store_true", help="open the viewer on the false peak")
    parser.add_argument("--screenshot", metavar="FILE", help="write a picture of that window")
    options = parser.parse_args(arguments)

    fields = faulty()
    votes = fields.votes("nose", sigma=SIGMA)
    peaks = votes.peaks(threshold=THRESHOLD)
    for x, y, voters in zip(peaks.x, peaks.y, peaks.voters, strict=True):
        print(f"peak at x = {x:.1f}, y = {y:.1f}: {voters:.1f} effective voters")
    false = int(peaks.voters.argmin())
    pixel = round(float(peaks.y[false])), round(float(peaks.x[false]))
    who = votes.voters(pixel)
    row, column = (int(index) for index in who.source[0])
    print(f"the source in row {row}, column {column} has {who.share[0]:.0%} of it: remove it")

    repaired = fields.confidence.copy()
    repaired[fields.part("nose"), row, column] = 0
    without = replace(fields, confidence=repaired).votes("nose", sigma=SIGMA)
    draw(fields, votes.noisy_or(), without.noisy_or(), pixel, options.output)
    if options.window or options.screenshot:
        open_window(fields, pixel, options.screenshot)


def faulty():
    """Return the sample's fields with one overconfident cell."""
    pose = mdn.samples.load("pose")
    confidence, offsets = pose.confidence.copy(), pose.offsets.copy()
    confidence[(pose.part("nose"), *CELL)] = 0.97
    offsets[(pose.part("nose"), slice(None), *CELL)] = 4, -6  # pixels: x, y
    return replace(pose, confidence=confidence, offsets=offsets)


def draw(fields, before, after, pixel, output):
    """Draw the two maps side by side."""
    figure = Figure((8, 4.4), layout="constrained")
    for axes, m, title in zip(
        figure.subplots(1, 2), (before, after), ("as the network says", "without one source"),
        strict=True,
    ):  # fmt: skip
        axes.imshow(fields.image, cmap="gray")
        axes.imshow(m, cmap="inferno", alpha=0.6, vmin=0, vmax=1)
        axes.plot(*pixel[::-1], "o", color="cyan", fillstyle="none", markersize=18)
        axes.set(title=title, xticks=[], yticks=[])
    figure.savefig(output, dpi=100)


def open_window(fields, pixel, screenshot):
    """Open the viewer with its table of the pixel's voters; until it is closed, or photographed."""
    import mdn_viewer
    import napari

    window = mdn_viewer.show(fields, part="nose", sigma=SIGMA, block=False)
    window.widget.wait()
    window.widget.model.ask_pixel(pixel)
    window.widget.open_tab("Voters")
    if screenshot is None:
        napari.run()
        return
    from mdn_viewer.__main__ import write_screenshot

    window.widget.wait()
    write_screenshot(window.viewer, screenshot)
    window.close()


if __name__ == "__main__":
    main()
