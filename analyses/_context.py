"""What an analysis is given: where its results go, and whether to be quick."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from convmatrix.plotting import save_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class Context:
    """The surroundings of one run of one analysis.

    Attributes
    ----------
    name : str
        Name of the analysis; the files that it writes begin with it.
    output : Path
        The folder for results; it exists.
    quick : bool
        Whether smaller data should be taken where an analysis takes long.
    figures : list of str
        File names of the figures saved so far.
    """

    name: str
    output: Path
    quick: bool = False
    figures: list[str] = field(default_factory=list)

    def save_figure(self, figure: Figure, label: str = "") -> None:
        """Write a figure as SVG and PNG, named after the analysis; ``label`` tells several figures of one apart.

        The same figure gives the same bytes on every run.
        """
        stem = f"{self.name}_{label}" if label else self.name
        for suffix in ("svg", "png"):
            save_figure(figure, self.output / f"{stem}.{suffix}", dpi=200)
            self.figures.append(f"{stem}.{suffix}")
