"""Pages as a code host shows them: links and anchors lead somewhere, pictures are there and have captions."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Final

import pytest

ROOT: Final = Path(__file__).resolve().parents[1]
GENERATED: Final = {"_build", "_generated", "build", "results"}
PAGES: Final = sorted(
    path
    for folder in (".", "docs", "benchmarks", "paper", ".github")
    for path in (ROOT / folder).glob("**/*.md" if folder == "docs" else "*.md")
    if not GENERATED & set(path.relative_to(ROOT).parts)
)
CODE: Final = re.compile(r"^(`{3,}|~{3,}).*?^\1`*$|(`+)(?!`).+?(?<!`)\2(?!`)", re.MULTILINE | re.DOTALL)
LINK: Final = re.compile(
    r"\]\(\s*<?([^)\s>]+)>?(?:\s+\"[^\"]*\")?\s*\)"  # in the text, with or without a title
    r"|^\[[^\]^]+\]:\s*(\S+)"  # by reference
    r"|(?:href|src)=[\"']([^\"']+)",
    re.MULTILINE,
)
PICTURE: Final = re.compile(r"!\[([^\]]*)\]\(([^)\s]+)\)")


def links_of(text: str) -> list[str]:
    """Return the targets of all links and pictures of a page, code left out."""
    return [next(filter(None, found.groups())) for found in LINK.finditer(CODE.sub("", text))]


def anchors_of(text: str) -> set[str]:
    """Return the anchors that a code host gives the headings of a page, and the explicit ones."""
    plain = re.sub(r"^(`{3,}).*?^\1$", "", text, flags=re.MULTILINE | re.DOTALL)
    found: dict[str, int] = {}
    anchors = set(re.findall(r"(?:id|name)=[\"']([^\"']+)", plain))
    for heading in re.findall(r"^#{1,6} +(.*?) *#*$", plain, flags=re.MULTILINE):
        words = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading)
        slug = re.sub(r"[^\w\- ]", "", words.lower()).strip().replace(" ", "-")
        number = found.get(slug, 0)
        found[slug] = number + 1
        anchors.add(f"{slug}-{number}" if number else slug)
    return anchors


def tracked_files() -> set[Path] | None:
    """Return the files and folders that a clone has, or None if this is not a clone."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, check=False)
    if done.returncode:
        return None
    files = {ROOT / name for name in done.stdout.decode().split("\0") if name}
    return files | {folder for file in files for folder in file.parents}


TRACKED: Final = tracked_files()


def faults(page: Path, text: str) -> list[str]:
    """Return the links of a page that lead nowhere."""
    wrong = []
    for link in links_of(text):
        if re.match(r"[a-z][a-z0-9+.-]*:", link):
            wrong += [link] * page.is_relative_to(ROOT / "docs")  # whose built pages need no network
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        # Compare the exact spelling, because some file systems ignore case.
        known = target in TRACKED if TRACKED is not None else target.exists()
        if known and target.is_relative_to(ROOT) and anchor:
            known = anchor in anchors_of(text if target == page else target.read_text(encoding="utf-8"))
        wrong += [link] * (not known or not target.is_relative_to(ROOT))
    return wrong


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert faults(page, text) == []


def test_a_dead_link_is_found() -> None:
    page = ROOT / "docs" / "index.md"
    assert {"README.md", "docs/course/index.md", "paper/paper.md"} <= {str(path.relative_to(ROOT)) for path in PAGES}
    text = """
# A heading, `twice`
# A heading, twice
[a](course/index.md) [b](#a-heading-twice-1) [c](conventions.md#one-axis) [d](../analyses) ![e](pictures/deblurred.png)
`[code](nowhere.md)`
```python
[code](nowhere.md)
```
[f](course/lost.md) [g](#a-heading-twice-2) [h](conventions.md#lost) <a href="lost.html">i</a> [j](Course/index.md)
[k](_generated/theorems.rst) [l](../../outside.md) [m](https://host.invalid) [n][o] ![p](pictures/lost.png)

[o]: lost.md
"""
    lost = ["course/lost.md", "#a-heading-twice-2", "conventions.md#lost", "lost.html", "Course/index.md"]
    lost += ["_generated/theorems.rst", "../../outside.md", "https://host.invalid", "pictures/lost.png", "lost.md"]
    assert faults(page, text) == lost


def unplain(text: str) -> list[str]:
    """Return the markup that Sphinx would interpret, but a code host would show as plain text."""
    fence = re.compile(r"^(```[^\n]*)\n.*?^```$", re.MULTILINE | re.DOTALL)
    prose = fence.sub(lambda block: block[1] if "{" in block[1] else "", text)
    patterns = (r"^\s*```+\{[\w:-]+\}", r"^:::+", r"\{[a-z:]+\}`", r"^: +\S", r"^\([\w-]+\)=$")
    return [found for pattern in patterns for found in re.findall(pattern, prose, flags=re.MULTILINE)]


@pytest.mark.parametrize("page", sorted((ROOT / "docs").rglob("*.md")), ids=lambda page: page.name)
def test_pages_are_plain_markdown(page: Path) -> None:
    if page in PAGES:
        assert unplain(page.read_text(encoding="utf-8")) == []


def test_what_is_not_plain_is_found() -> None:
    text = "```{toctree}\na\n```\n:::{answers}\n:::\na {py:obj}`b`\nterm\n: meaning\n(label)=\n```python\n: code\n```\n"
    assert unplain(text) == ["```{toctree}", ":::", ":::", "{py:obj}`", ": m", "(label)="]


def without_caption(text: str) -> list[str]:
    """Return the pictures of a page that have no caption below: a paragraph in italics."""
    lost = []
    for picture in PICTURE.finditer(CODE.sub("", text)):
        following = CODE.sub("", text)[picture.end() :]
        if not picture[1] or not re.match(r"\n\n\*[^*]{20,}\*\n", following):
            lost.append(picture[2])
    return lost


# Pandoc, by which the journal typesets the paper, shows the text of a picture as its caption.
CAPTIONED: Final = [page for page in PAGES if page.name != "paper.md"]


@pytest.mark.parametrize("page", CAPTIONED, ids=lambda page: str(page.relative_to(ROOT)))
def test_pictures_have_captions(page: Path) -> None:
    assert without_caption(page.read_text(encoding="utf-8")) == []


def test_a_missing_caption_is_found() -> None:
    assert without_caption("![a](b.png)\n\n*What the picture shows, in words.*\n\n![c](d.png)\n\ntext\n") == ["d.png"]
    assert without_caption("![](b.png)\n\n*What the picture shows, in words.*\n") == ["b.png"]
