"""The directive ``drawn``: a figure that its code draws when the pages are built.

The code is complete, and leaves a matplotlib figure in the variable ``figure``. The page shows the picture and,
behind a button, the code. In Markdown::

    ```{drawn} What the picture shows, for those who do not see it.
    import convmatrix as cm
    from convmatrix import plotting

    figure = plotting.plot_matrix(cm.ConvGeometry(5, 3).pattern())
    ```
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from docutils import nodes
from sphinx.util.docutils import SphinxDirective

if TYPE_CHECKING:
    from sphinx.application import Sphinx


class Drawn(SphinxDirective):
    """Run code, save its figure, show both."""

    required_arguments = 1  # the text in place of the picture
    final_argument_whitespace = True
    has_content = True

    def run(self) -> list[nodes.Node]:
        """Return the picture and its code."""
        code = "\n".join(self.content)
        folder = Path(self.env.srcdir) / "_generated" / "figures"
        folder.mkdir(parents=True, exist_ok=True)
        number = self.env.new_serialno("drawn")
        path = folder / f"{self.env.docname.replace('/', '-')}-{number}.svg"
        draw(code, path, f"{self.env.docname}:{self.lineno}")
        image = nodes.image(uri=f"/{path.relative_to(self.env.srcdir)}", alt=" ".join(self.arguments[0].split()))
        image["classes"].append("drawn")
        listing = nodes.literal_block(code, code, language="python")
        opening = "<details class='code-of-figure'><summary>The code of this figure</summary>"
        raw = [nodes.raw("", text, format="html") for text in (opening, "</details>")]
        # The picture's address is worked out as in any other image of the page.
        figure = nodes.figure("", image)
        self.set_source_info(figure)
        return [figure, raw[0], listing, raw[1]]


def draw(code: str, path: Path, name: str) -> None:
    """Run code, and save the figure that it leaves; the same code gives the same bytes."""
    import matplotlib as mpl

    mpl.use("agg")
    names: dict[str, Any] = {"__name__": "__figure__"}
    exec(compile(code, name, "exec"), names)
    if not hasattr(names.get("figure"), "savefig"):
        raise ValueError(f"{name}: the code leaves no figure; assign it to the variable `figure`")
    with mpl.rc_context({"svg.hashsalt": path.stem}):
        names["figure"].savefig(path, format="svg", metadata={"Date": None}, bbox_inches="tight")


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the directive."""
    app.add_directive("drawn", Drawn)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
