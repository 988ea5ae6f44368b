"""The manual: every example runs, links lead somewhere, and the built pages load nothing from elsewhere."""

from __future__ import annotations

import contextlib
import doctest
import importlib.util
import io
import os
import re
import shlex
import shutil
import subprocess
import sys
import types
from html.parser import HTMLParser
from importlib import import_module
from pathlib import Path, PurePosixPath
from typing import Any, Final, NamedTuple

import pytest

import convmatrix as cm

ROOT: Final = Path(__file__).resolve().parents[1]
DOCS: Final = ROOT / "docs"
PAGES: Final = sorted(
    path for path in DOCS.rglob("*.md") if not {"_build", "_generated"} & set(path.relative_to(DOCS).parts)
)
FLAGS: Final = doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS


DOCS_EXTRA: Final = ("sphinx", "numpydoc", "myst_parser", "furo", "sphinx-mathjax-offline", "sklearn", "skimage")


class Block(NamedTuple):
    """A fenced block of a page; the code of a picture names the picture beside its language."""

    language: str
    picture: str
    text: str
    line: int


def blocks_of(page: Path) -> list[Block]:
    """Return the fenced blocks of a page."""
    text = page.read_text(encoding="utf-8")
    found = re.finditer(r"^```([^\s`]+)([^\n]*)\n(.*?)^```$", text, flags=re.MULTILINE | re.DOTALL)
    return [Block(match[1], match[2].strip(), match[3], text.count("\n", 0, match.start()) + 1) for match in found]


def load(name: str, path: Path) -> Any:
    """Import a script of the manual; extensions need no Sphinx for what is tested here."""
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # where the extensions look for each other
    spec.loader.exec_module(module)
    return module


def page_id(page: Path) -> str:
    return str(page.relative_to(DOCS))


# --- examples --------------------------------------------------------------------------------------------------------


def run_python(blocks: list[Block], name: str) -> int:
    """Run the Python blocks of a page one after another, with one set of names; return how many lines were compared."""
    names: dict[str, Any] = {"__name__": "__main__"}
    runner = doctest.DocTestRunner(optionflags=FLAGS)
    report: list[str] = []
    for block in blocks:
        if ">>> " in block.text:
            test = doctest.DocTestParser().get_doctest(block.text, {}, name, name, block.line)
            test.globs = names
            runner.run(test, out=report.append, clear_globs=False)
        else:
            exec(compile(block.text, name, "exec"), names)
    assert runner.summarize(verbose=False).failed == 0, "".join(report)
    return runner.tries


def run_console(block: Block) -> int:
    """Run the commands of a console block in this process; compare what they print."""
    from convmatrix.cli import main

    session = re.split(r"^\$ ", block.text, flags=re.MULTILINE)[1:]
    for entry in session:
        command, _, shown = entry.partition("\n")
        program, *arguments = shlex.split(command)
        assert program == "convmatrix"
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed):
            assert main(arguments) == 0, printed.getvalue()
        assert doctest.OutputChecker().check_output(shown.rstrip() + "\n", printed.getvalue().rstrip() + "\n", FLAGS), (
            f"{command}\n{printed.getvalue()}"
        )
    return len(session)


@pytest.mark.parametrize("page", PAGES, ids=page_id)
def test_examples(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    blocks = blocks_of(page)
    if any(block.language == "diff" for block in blocks):
        pytest.skip("the examples are of a changed package: test_changes_to_the_package")
    python = [block for block in blocks if block.language == "python" and not block.picture]
    code = "".join(block.text for block in python)
    for package in ("distributed", "onnx", "torch", "z3", "sklearn", "skimage", "pylops"):
        if re.search(rf'import {package}\b|from {package}\b|engine="{package}"', code):
            pytest.importorskip(package)
    monkeypatch.chdir(tmp_path)
    ran = run_python(python, page_id(page))
    ran += sum(run_console(block) for block in blocks if block.language == "console")
    assert ran or page.name == "index.md" or page in (DOCS / "api.md", DOCS / "conventions.md")


draw: Final = load("draw", DOCS / "draw.py")
DRAWINGS: Final = [drawing for page in PAGES for drawing in draw.drawings(page)]


@pytest.mark.parametrize("drawing", DRAWINGS, ids=lambda drawing: drawing.path.stem)
def test_pictures_are_those_of_their_code(drawing: Any) -> None:
    pytest.importorskip("matplotlib")
    assert drawing.is_current(), f"{drawing.path.name} is older than its code; draw it again: python docs/draw.py"
    if "sklearn" in drawing.code:
        pytest.importorskip("sklearn")
    if "skimage" in drawing.code:
        pytest.importorskip("skimage")
    drawn = io.StringIO()
    drawing.run().savefig(drawn, format="svg")
    assert drawn.getvalue().count("<path") > 5


def test_an_old_picture_is_found(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    page = tmp_path / "page.md"
    code = "from matplotlib.figure import Figure\nfigure = Figure((1, 1))\n"
    page.write_text(f"```python {tmp_path / 'a.png'}\n{code}```\n", encoding="utf-8")
    (drawing,) = draw.drawings(page)
    assert not drawing.is_current()
    assert draw.main([str(page)]) == 0
    assert drawing.is_current()
    page.write_text(page.read_text(encoding="utf-8").replace("(1, 1)", "(2, 1)"), encoding="utf-8")
    (changed,) = draw.drawings(page)
    assert not changed.is_current()
    with pytest.raises(ValueError, match=r"page\.md.*a\.png leaves no figure"):
        draw.Drawing(page, tmp_path / "a.png", "figure = None").run()


def test_every_picture_has_its_code() -> None:
    """On the page that shows it, or in a script beside it."""
    pictures = set((DOCS / "pictures").glob("*.png"))
    assert pictures == {drawing.path for drawing in DRAWINGS} | {p for p in pictures if p.with_suffix(".py").is_file()}
    for drawing in DRAWINGS:
        assert f"/{drawing.path.name})" in drawing.page.read_text(encoding="utf-8"), drawing


def test_every_language_is_known() -> None:
    """A block that nothing runs cannot be wrong, so there are none but these."""
    kinds = {block.language for page in PAGES for block in blocks_of(page)}
    assert kinds <= {"python", "console", "diff", "bash", "bibtex"}
    commands = "".join(block.text for page in PAGES for block in blocks_of(page) if block.language == "bash")
    from convmatrix.cli import _parser

    for line in commands.splitlines():
        program, *arguments = shlex.split(line)
        assert program == "convmatrix"
        _parser().parse_args(arguments)  # takes long when run: at least the options exist


# --- how to extend: the changes of a page, applied to a copy of the package -------------------------------------------


def apply_change(root: Path, change: str) -> None:
    """Apply one change: lines that begin with ``-`` or a space are looked for, and must be there exactly once."""
    first, *lines = change.splitlines()
    path = root / first.removeprefix("--- ")
    old = "".join(line[1:] + "\n" for line in lines if not line.startswith("+"))
    new = "".join(line[1:] + "\n" for line in lines if not line.startswith("-"))
    text = path.read_text(encoding="utf-8")
    assert text.count(old) == 1, f"{path.name} has these lines {text.count(old)} times:\n{old}"
    path.write_text(text.replace(old, new), encoding="utf-8")


CHANGING: Final = [page for page in PAGES if any(block.language == "diff" for block in blocks_of(page))]


@pytest.mark.parametrize("page", CHANGING, ids=page_id)
def test_changes_to_the_package(page: Path, tmp_path: Path) -> None:
    shutil.copytree(ROOT / "convmatrix", tmp_path / "convmatrix", ignore=shutil.ignore_patterns("__pycache__"))
    blocks = blocks_of(page)
    for block in blocks:
        if block.language == "diff":
            apply_change(tmp_path, block.text)
    code = (
        "from pathlib import Path\n"
        f"import convmatrix; assert convmatrix.__file__.startswith({str(tmp_path)!r})\n"
        "from tests.test_docs import blocks_of, run_python\n"
        f"page = Path({str(page)!r})\n"
        "assert run_python([block for block in blocks_of(page) if block.language == 'python'], page.name)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), str(ROOT)])},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_pages_on_extending_name_files_that_exist() -> None:
    for page in sorted((DOCS / "extend").glob("*.md")):
        for name in re.findall(r"`((?:convmatrix|docs|tests)/[\w/]+\.\w+)`", page.read_text(encoding="utf-8")):
            assert (ROOT / name).is_file(), f"{page_id(page)}: {name}"


def test_the_page_on_boundaries_names_every_file_with_a_boundary() -> None:
    text = (DOCS / "extend" / "boundary.md").read_text(encoding="utf-8")
    for path in sorted((ROOT / "convmatrix").rglob("*.*")):
        if path.suffix in (".py", ".js") and re.search(r"[\"']replicate[\"']", path.read_text(encoding="utf-8")):
            assert f"`{path.relative_to(ROOT).as_posix()}`" in text, path


# --- links -----------------------------------------------------------------------------------------------------------


def test_every_page_is_in_a_table_of_contents() -> None:
    """The pages that an ``index.md`` links to are its table of contents."""
    plain = load_plain()
    listed = {DOCS / "index.md"}
    for page in PAGES:
        if page.name == "index.md":
            listed |= {(page.parent / name) for name in plain.linked_pages(page.read_text(encoding="utf-8"))}
    assert set(PAGES) <= listed


def test_links_to_sources_lead_to_built_pages() -> None:
    plain = load_plain()
    cases = {
        "[a](../../analyses/lenet5.py)": "[a](../_generated/gallery/lenet5.rst)",
        "[a](../../analyses)": "[a](../_generated/gallery/index.rst)",
        "[a\nb](../../convmatrix/explore)": '<a href="../explore.html">a\nb</a>',
        "[a](../../convmatrix/proofs/coq)": "[a](../_generated/theorems.rst)",
        "[a](../../convmatrix/proofs)": "[a](../_generated/api/convmatrix.proofs.rst)",
        "[a](index.md#b) ![a](../pictures/a.png)": "[a](index.md#b) ![a](../pictures/a.png)",
        "```\n[a](../../analyses)\n```": "```\n[a](../../analyses)\n```",
    }
    for text, built in cases.items():
        assert plain.built_links(text, PurePosixPath("course/page.md")) == built
    with pytest.raises(ValueError, match=r"course/page\.md: .*tests/cases\.py"):
        plain.built_links("[a](../../tests/cases.py)", PurePosixPath("course/page.md"))


def test_cite_page_has_the_data_of_the_readme() -> None:
    def bibtex(path: Path) -> list[str]:
        return re.findall(r"^```bibtex\n(.*?)^```$", path.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)

    assert bibtex(DOCS / "howto" / "cite.md") == bibtex(ROOT / "README.md") != []


# --- the API ---------------------------------------------------------------------------------------------------------


def load_rooms() -> Any:
    """Import the extension that writes the API pages; it needs no Sphinx."""
    return load("rooms", DOCS / "_ext" / "rooms.py")


def load_plain() -> Any:
    """Import the extension that turns plain pages into those of the manual."""
    load_rooms()
    return load("plain", DOCS / "_ext" / "plain.py")


def test_every_public_room_has_a_page() -> None:
    rooms = load_rooms()
    public = {getattr(cm, name).__name__ for name in cm.__all__ if isinstance(getattr(cm, name), types.ModuleType)}
    assert public <= set(rooms.ROOMS)
    documented = {
        name for room in rooms.ROOMS for kind in rooms.sort_names(import_module(room)).values() for name in kind
    }
    missing = {name for name in cm.__all__ if not isinstance(getattr(cm, name), types.ModuleType)} - documented
    assert missing == {"__version__"}


def test_the_index_by_task_has_every_public_name_once() -> None:
    """Each name is that of the room that documents it, or of the package where it is passed on there."""
    rooms = load_rooms()
    public = [
        f"{room}.{name}"
        for room in rooms.ROOMS
        for names in rooms.sort_names(import_module(room)).values()
        for name in names
        if not rooms._lives_elsewhere(room, getattr(import_module(room), name))
    ]
    public.remove("convmatrix.equivariance.ENGINES")  # a constant, which does not know that its room is proofs
    entry = load_plain().entry
    rows = re.findall(r"^\|[^|]*\|([^|]*)\|$", (DOCS / "api.md").read_text(encoding="utf-8"), flags=re.MULTILINE)
    named = [entry(name) for row in rows for name in re.findall(r"`(?:cm|convmatrix)\.([\w.]+)`", row)]
    assert sorted(named) == sorted(public)


def test_every_public_function_has_an_example() -> None:
    rooms = load_rooms()
    for room in rooms.ROOMS:
        module = import_module(room)
        for name in rooms.sort_names(module)["Functions"]:
            assert ">>> " in (getattr(module, name).__doc__ or ""), f"{room}.{name}"


def test_stars_of_python_are_not_markup() -> None:
    cases = {
        "takes (C_in, *input_shape), or **options": r"takes (C_in, \*input_shape), or \*\*options",
        "``(C_in, *input_shape)`` and *emphasis*": "``(C_in, *input_shape)`` and *emphasis*",
        "    **kernel, **layer** : dict, shape (*n)": r"    **kernel, \*\*layer** : dict, shape (\*n)",
        ">>> f(*x, **y)": ">>> f(*x, **y)",
    }
    for line, shown in cases.items():
        lines = [line]
        load_rooms().escape_stars(lines)
        assert lines == [shown]


def test_code_that_goes_on_in_the_next_line_is_left_alone() -> None:
    lines = ["of shape ``(batch,", "*spatial)`` or (*n)"]
    load_rooms().escape_stars(lines)
    assert lines == ["of shape ``(batch,", r"*spatial)`` or (\*n)"]


# --- the built pages -------------------------------------------------------------------------------------------------


class Loads(HTMLParser):
    """Collects what a page loads by itself: everything but the targets of links."""

    def __init__(self) -> None:
        super().__init__()
        self.loaded: list[str] = []
        self.links: list[str] = []
        self.style = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.style = tag == "style"
        for name, value in attrs:
            if value is None:
                continue
            if name == "href" and tag == "a":
                self.links.append(value)
            if name in ("src", "data", "poster", "action") or (name in ("href", "xlink:href") and tag != "a"):
                self.loaded.append(value)
            elif name == "srcset":
                self.loaded += [part.split()[0] for part in value.split(",") if part.split()]
            elif name == "style":
                self.loaded += addresses_in_css(value)

    def handle_data(self, data: str) -> None:
        if self.style:
            self.loaded += addresses_in_css(data)


def addresses_in_css(text: str) -> list[str]:
    """Return what a style sheet loads."""
    text = re.sub(r"/\*.*?\*/", "", text, flags=re.DOTALL)
    return re.findall(r"url\(\s*[\"']?([^\"')]+)", text) + re.findall(r"@import\s+[\"']([^\"']+)", text)


def is_elsewhere(address: str) -> bool:
    """Whether an address is on another host."""
    return bool(re.match(r"\s*(?:[a-z][a-z0-9+.-]*:)?//", address, re.IGNORECASE))


def test_the_check_sees_what_is_loaded() -> None:
    cases = [
        ('<script src="https://host/a.js"></script>', True),
        ('<link rel="stylesheet" href="//host/a.css">', True),
        ('<img srcset="a.png 1x, http://host/b.png 2x">', True),
        ("<style>@font-face { src: url('https://host/f.woff2') }</style>", True),
        ('<p style="background: url(HTTPS://host/b.png)">', True),
        ('<style>@import "https://host/a.css";</style>', True),
        ('<a href="https://host/">a link is followed by readers alone</a>', False),
        ('<script src="_static/a.js"></script><img src="data:image/png;base64,AA//">', False),
    ]
    for page, loaded in cases:
        parser = Loads()
        parser.feed(page)
        assert any(map(is_elsewhere, parser.loaded)) is loaded, page


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the manual from a copy of its sources, with one analysis, and return the folder of pages."""
    for package in DOCS_EXTRA:
        pytest.importorskip(package, reason='the manual needs: pip install ".[docs]"')
    root = tmp_path_factory.mktemp("manual")
    shutil.copytree(DOCS, root / "docs", ignore=shutil.ignore_patterns("_build", "_generated", "__pycache__"))
    for name in ("convmatrix", "analyses"):
        (root / name).symlink_to(ROOT / name)
    options = ["-W", "--keep-going", "-q", "-b", "html", "-D", "gallery_run=small_image"]
    done = subprocess.run(
        [sys.executable, "-m", "sphinx", *options, "docs", "pages"],
        cwd=root,
        capture_output=True,
        text=True,
        timeout=540,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return root / "pages"


def test_built_pages_are_complete(built: Path) -> None:
    for page in PAGES:
        assert (built / page.relative_to(DOCS)).with_suffix(".html").is_file()
    gallery = (built / "_generated" / "gallery" / "small_image.html").read_text(encoding="utf-8")
    assert "reproduced" in gallery
    assert "small_image.svg" in gallery
    api = (built / "_generated" / "api" / "convmatrix.html").read_text(encoding="utf-8")
    assert 'id="convmatrix.conv_matrix"' in api


def test_built_pages_are_whole_and_load_nothing_from_elsewhere(built: Path) -> None:
    pages = list(built.rglob("*.html"))
    assert len(pages) > len(PAGES)
    for page in pages:
        parser = Loads()
        parser.feed(page.read_text(encoding="utf-8"))
        assert [address for address in parser.loaded if is_elsewhere(address)] == [], page
        for address in parser.loaded + parser.links:
            path = address.partition("?")[0].partition("#")[0]
            if path and not is_elsewhere(path) and not address.startswith("data:"):
                assert (page.parent / path).exists(), f"{page}: {address}"
    for sheet in [*built.rglob("*.css"), *built.rglob("*.svg")]:
        text = sheet.read_text(encoding="utf-8")
        assert not any(map(is_elsewhere, addresses_in_css(text))), sheet
        assert not re.search(r"<image[^>]*href=[\"']https?:", text), sheet


def ask_browser(browser: str, address: str, folder: Path) -> tuple[set[tuple[str, str]], str]:
    """Open a page in headless Chromium; return what was asked of the network, and what the page became.

    Requests are read in the browser's log: who asked, a number, and the host. The browser has requests of its own.
    """
    log = folder / "network.json"
    flags = ["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"]
    flags += ["--disable-component-update", "--disable-sync", "--disable-quic", "--disable-extensions"]
    flags += [f"--user-data-dir={folder / 'profile'}", f"--log-net-log={log}", "--virtual-time-budget=20000"]
    done = subprocess.run([browser, *flags, "--dump-dom", address], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    text = log.read_text(encoding="utf-8", errors="replace")
    return set(re.findall(r'"traffic_annotation":(\d+),"url":"(https?://[^/"]+)', text)), done.stdout


def test_built_pages_ask_no_other_host(built: Path, tmp_path: Path) -> None:
    """Mathematics is typeset, and pages ask nothing."""
    browser = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if browser is None:
        pytest.skip("there is no Chromium")
    folders = [tmp_path / str(number) for number in range(5)]
    for folder in folders:
        folder.mkdir()
    leaking = tmp_path / "leaking.html"
    leaking.write_text("<script>fetch('https://host.invalid/a.js')</script>", encoding="utf-8")
    asked, _ = ask_browser(browser, leaking.as_uri(), folders[0])
    (by_a_page,) = (who for who, host in asked if host == "https://host.invalid")
    pages = ["index.html", "course/spectra.html", "_generated/api/convmatrix.solve.html", "explore.html"]
    for name, folder in zip(pages, folders[1:], strict=True):
        asked, shown = ask_browser(browser, (built / name).as_uri(), folder)
        assert [host for who, host in asked if who == by_a_page] == [], name
        assert ("<mjx-container" in shown) == (name not in ("index.html", "explore.html")), name
