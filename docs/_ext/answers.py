"""The directive ``answers``: what exercises ask for, behind a button."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from docutils import nodes
from sphinx.util.docutils import SphinxDirective

if TYPE_CHECKING:
    from sphinx.application import Sphinx


class Answers(SphinxDirective):
    """Show the content when asked for."""

    has_content = True

    def run(self) -> list[nodes.Node]:
        """Return the content between the tags of a ``details`` element."""
        opening = nodes.raw("", "<details class='answers'><summary>Answers</summary>", format="html")
        return [opening, *self.parse_content_to_nodes(), nodes.raw("", "</details>", format="html")]


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the directive."""
    app.add_directive("answers", Answers)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
