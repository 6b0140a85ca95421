"""Take the pictures of the viewer that the documentation shows, into docs/images.

Run it with a display, or with one that nobody sees:

    xvfb-run -s "-screen 0 1600x1000x24" python docs/make_viewer_screenshots.py
"""

import os
import sys
import tempfile
from pathlib import Path

IMAGES = Path(__file__).parent / "images"


def make() -> int:
    """Open the viewer on the pose sample as anybody's looks that has just been installed."""
    from mdn_viewer.__main__ import main

    IMAGES.mkdir(exist_ok=True)
    picture = str(IMAGES / "viewer.png")
    return main(["pose", "--part", "nose", "--sigma", "8", "--screenshot", picture])


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as settings:
        os.environ["NAPARI_CONFIG"] = str(Path(settings, "settings.yaml"))
        sys.exit(make())
