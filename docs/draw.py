"""Draw the pictures of the manual: ``python docs/draw.py`` draws those whose code has changed, ``--all`` every one.

A page holds the code of a picture in a block that names the file, and shows the file above that block::

    ![What it shows](../pictures/name.png)

    *What it shows.*

    ```python ../pictures/name.png
    import convmatrix as cm
    from convmatrix import plotting

    figure = plotting.plot_matrix(cm.ConvGeometry(5, 3).pattern())
    ```

The code is complete and leaves a matplotlib figure in the variable ``figure``. The picture carries a digest of its
code, by which a picture that is older than its code is found.
"""

from __future__ import annotations

import argparse
import hashlib
import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

DOCS = Path(__file__).resolve().parent
BLOCK = re.compile(r"^```python (\S+\.png)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
DOTS_PER_INCH = 150


class Drawing(NamedTuple):
    """A picture of a page, and the code that draws it."""

    page: Path
    path: Path
    code: str

    @property
    def digest(self) -> str:
        """What the picture must carry."""
        return hashlib.sha256(self.code.encode()).hexdigest()[:16]

    def is_current(self) -> bool:
        """Whether the picture was drawn by this code."""
        from PIL import Image

        if not self.path.is_file():
            return False
        with Image.open(self.path) as picture:
            return picture.info.get("Comment") == self.digest

    def run(self) -> Any:
        """Return the figure that the code leaves."""
        names: dict[str, Any] = {"__name__": "__figure__"}
        exec(compile(self.code, f"{self.page.name}: {self.path.name}", "exec"), names)
        if not hasattr(names.get("figure"), "savefig"):
            raise ValueError(f"{self.page}: the code of {self.path.name} leaves no figure; assign it to `figure`")
        return names["figure"]

    def draw(self) -> None:
        """Write the picture."""
        metadata = {"Comment": self.digest, "Software": None}
        figure = self.run()
        figure.savefig(self.path, dpi=DOTS_PER_INCH, metadata=metadata, bbox_inches="tight", facecolor="white")


def drawings(page: Path) -> Iterator[Drawing]:
    """Yield the pictures of a page that have their code there."""
    for block in BLOCK.finditer(page.read_text(encoding="utf-8")):
        yield Drawing(page, (page.parent / block[1]).resolve(), block[2])


def main(arguments: Sequence[str] | None = None) -> int:
    """Draw pictures."""
    parser = argparse.ArgumentParser(prog="python docs/draw.py", description="Draw the pictures of the manual.")
    parser.add_argument("pages", nargs="*", type=Path, metavar="PAGE", help="Markdown files (default: all)")
    parser.add_argument("--all", action="store_true", help="also draw pictures whose code has not changed")
    options = parser.parse_args(arguments)
    import matplotlib as mpl

    mpl.use("agg")
    sys.path.insert(0, str(DOCS.parent))
    for page in options.pages or sorted(DOCS.rglob("*.md")):
        for drawing in drawings(page):
            if options.all or not drawing.is_current():
                drawing.draw()
                print(drawing.path)
    return 0


if __name__ == "__main__":
    sys.exit(main())
