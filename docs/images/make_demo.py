"""Make demo.jpg: the picture of the command ``demo``, small enough for a page.

Run it with ``python docs/images/make_demo.py`` where the extra demo is installed.
"""

import subprocess
import sys
import tempfile
from pathlib import Path

from PIL import Image

WIDTH = 1200


def main() -> None:
    """Write the picture beside this file."""
    with tempfile.TemporaryDirectory() as folder:
        whole = Path(folder, "demo.png")
        command = [sys.executable, "-m", "warp_bitonic_sort", "demo", "--output", str(whole)]
        subprocess.run(command, check=True)
        picture = Image.open(whole).convert("RGB")
        size = (WIDTH, picture.height * WIDTH // picture.width)
        small = picture.resize(size, Image.Resampling.LANCZOS)
        small.save(
            Path(__file__).with_name("demo.jpg"), quality=68, optimize=True, progressive=True
        )


if __name__ == "__main__":
    main()
