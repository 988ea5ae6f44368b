"""The engine Coq: the lemmas of a theorem, and its full statement, checked by the kernel of Coq.

A theorem becomes a few files: the rule, which `convmatrix.proofs.coq_rule` generates from `convmatrix.boundary`; a
library for sums, layers and their axes, written by hand in the folder ``coq`` beside this module; the lemmas, whose
proofs `convmatrix.proofs.coq_scripts` writes; and the full statement, for all weights, channels, groups and axes, in
``coq/full``. The engine compiles them in a temporary folder with ``coqc``, and accepts a theorem only if
``Print Assumptions`` says that it is closed under the global context: it rests on no axiom and on nothing admitted.
"""

from __future__ import annotations

import functools
import graphlib
import re
import shutil
import subprocess
import tempfile
import threading
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from convmatrix.proofs.coq_rule import rule_text
from convmatrix.proofs.coq_scripts import LemmaProof, NoProofError
from convmatrix.proofs.gallina import comment, coq_name, lemmas_text, statement
from convmatrix.proofs.search import divides_by_positive
from convmatrix.proofs.statements import Decision, counterexample, example_holds, no_symbols, undecided

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import TypeAlias

    from convmatrix.proofs.statements import Lemma, Theorem

    _Draft: TypeAlias = tuple[str, str] | Decision
    _Drafted: TypeAlias = tuple[Theorem, list[_Draft]]

_LIBRARY: Final = Path(__file__).parent / "coq"
CLOSED: Final = "Closed under the global context"
"""Coq's report on the assumptions of a theorem that has none."""

_SECONDS: Final = 600.0
_QUESTION: Final = re.compile(r"^Print Assumptions .*\n", re.MULTILINE)
_REQUIRE: Final = re.compile(r"^(?:From\s+(\w+)\s+)?Require\s+(Import\s+|Export\s+)?([\w.\s]+?)\.(?=\s)", re.MULTILINE)


def find_coqc() -> str:
    """Return the path of the compiler ``coqc``, or raise FileNotFoundError that says how to install it."""
    found = shutil.which("coqc")
    if found is None:
        raise FileNotFoundError(
            "the engine coq needs the program coqc, which is not found on PATH; install Coq 8.16 or later, for "
            "example Debian's package coq (apt-get install coq), or use engine='sympy'"
        )
    return found


@functools.cache
def coq_version(coqc: str) -> str:
    """Return the version of Coq."""
    done = subprocess.run([coqc, "--version"], capture_output=True, text=True, check=False, timeout=_SECONDS)  # noqa: S603
    found = re.search(r"version (\S+)", done.stdout)
    return found.group(1) if found else "unknown"


# --- decisions --------------------------------------------------------------------------------------------------------


def decide_with_coq(theorems: Sequence[Theorem]) -> list[tuple[list[Decision], Decision | None]]:
    """Return the decisions about the lemmas of each theorem, and about its full statement if it has one in Coq.

    Coq reads the theorems as one text that ends with one question about assumptions: most of its time would go into
    loading its library, and into going through all of arithmetic, for each file again. If it refuses the text, the
    theorems are judged one at a time, and then file by file.
    """
    coqc = find_coqc()
    drafted = [(theorem, [_draft(theorem, lemma) for lemma in theorem.lemmas]) for theorem in theorems]
    return _decide(coqc, drafted)


def _decide(coqc: str, drafted: Sequence[_Drafted]) -> list[tuple[list[Decision], Decision | None]]:
    with tempfile.TemporaryDirectory(prefix="convmatrix-coq-") as folder:
        files = TheoremFiles(coqc, Path(folder), drafted)
        if files.accepts_together() or len(drafted) == 1:
            return [_decide_by_file(files, theorem, drafts) for theorem, drafts in drafted]
    return [decision for one in drafted for decision in _decide(coqc, [one])]


def _decide_by_file(
    files: TheoremFiles, theorem: Theorem, drafts: list[_Draft]
) -> tuple[list[Decision], Decision | None]:
    """Return the decisions about a theorem; accepted modules are not compiled again."""
    written = [(lemma, draft) for lemma, draft in zip(theorem.lemmas, drafts, strict=True) if isinstance(draft, tuple)]
    together = files.compile(f"Lemmas_{coq_name(theorem.name)}")
    accepted = not together.error and together.closed == min(len(written), 1)
    decisions = []
    for lemma, draft in zip(theorem.lemmas, drafts, strict=True):
        if isinstance(draft, Decision):
            decisions.append(draft)
            continue
        stated = statement(lemma)
        name, text = coq_name(theorem.name, lemma.name), "".join((stated, *draft))
        found = together if accepted else files.compile_text("Alone", _text(theorem, [(lemma, draft)]))
        decisions.append(found.decision(_certificate(name, stated, text, files.coqc)))
    hold = accepted and len(written) == len(drafts)
    return decisions, _decide_full_statement(theorem, files, hold)


def _draft(theorem: Theorem, lemma: Lemma) -> _Draft:
    """Return the proof of a lemma in Coq, still to be compiled, or the decision that there is none."""
    try:
        proof = LemmaProof(lemma, coq_name(theorem.name, lemma.name))
    except TypeError as error:
        return no_symbols(lemma, error)
    found = counterexample(lemma)
    if found is not None:
        return Decision("refuted", counterexample=found)
    if not example_holds(lemma):
        return undecided("its hypotheses do not hold for its example")
    if not divides_by_positive(lemma):  # Coq divides by zero: x / 0 = 0
        return undecided("it may divide by a number below 1")
    try:
        return proof.text()
    except (NoProofError, TypeError) as error:
        return undecided(str(error))


def _certificate(name: str, stated: str, text: str, coqc: str) -> dict[str, Any]:
    return {
        "kind": "coq",
        "theorem": name,
        "statement": stated,
        "assumptions": CLOSED,
        "bytes": len(text.encode()),
        "version": coq_version(coqc),
    }


def _decide_full_statement(theorem: Theorem, files: TheoremFiles, lemmas_hold: bool) -> Decision | None:
    if not _stated_in_full(theorem):
        return None
    if not lemmas_hold:
        return undecided("it rests on a lemma without a proof")
    module, name = f"Full_{coq_name(theorem.name)}", full_name(theorem.name)
    # Replace the file's own question, so that the assumptions printed are those of this theorem.
    text = files.sources[module]
    files.sources.texts[module] = f"{_QUESTION.sub('', text)}\nPrint Assumptions {name}.\n"
    return files.compile(module).decision(_certificate(name, full_text(theorem.name) or "", text, files.coqc))


def full_name(name: str) -> str:
    """Return the name in Coq of the full statement of a theorem."""
    return f"{coq_name(name)}_theorem"


def full_path(name: str) -> Path | None:
    """Return the file with the full statement of a theorem, or None if there is none."""
    path = _LIBRARY / "full" / f"{coq_name(name)}.v"
    return path if path.is_file() else None


def _stated_in_full(theorem: Theorem) -> bool:
    """Return whether there is a file with the full statement of this theorem, not of another one with its name."""
    from convmatrix.proofs.catalogue import all_theorems

    known = all_theorems().get(theorem.name)
    words = known is not None and (known.statement, known.hypotheses) == (theorem.statement, theorem.hypotheses)
    return words and full_path(theorem.name) is not None


def full_text(name: str) -> str | None:
    """Return the full statement of a theorem as it stands in its file, or None.

    Examples
    --------
    >>> print((full_text("circular-shift") or "")[:30])
    Theorem circular_shift_theorem
    """
    path = full_path(name)
    if path is None:
        return None
    found = re.search(rf"^Theorem {full_name(name)}\b.*?\.(?=\s*Proof)", path.read_text("utf-8"), re.M | re.S)
    return found.group(0) if found else None


# --- files ------------------------------------------------------------------------------------------------------------


class _Sources:
    """The texts of modules, each made when it is first asked for."""

    def __init__(self, theorems: Sequence[Theorem], proofs: bool = True) -> None:
        from convmatrix.proofs.catalogue import all_theorems

        known = all_theorems() | {theorem.name: theorem for theorem in theorems}  # files may require lemmas of others
        self.theorems = {coq_name(name): theorem for name, theorem in known.items()}
        self.proofs = proofs
        self.texts: dict[str, str] = {}

    def __getitem__(self, module: str) -> str:
        if module not in self.texts:
            self.texts[module] = self._made(module)
        return self.texts[module]

    def _made(self, module: str) -> str:
        if module == "Rule":
            return rule_text()
        kind, _, name = module.partition("_")
        if kind == "Lemmas" and name in self.theorems:
            theorem = self.theorems[name]
            if not self.proofs:
                return lemmas_text(theorem)
            return _text(theorem, [(lemma, _proved(theorem, lemma)) for lemma in theorem.lemmas])
        path = _LIBRARY / "full" / f"{name}.v" if kind == "Full" else _LIBRARY / f"{module}.v"
        if not path.is_file():
            raise RuntimeError(f"there is no module {module} in Coq: {path} does not exist")
        return path.read_text("utf-8")

    def order(self, *modules: str) -> list[str]:
        """Return modules with all their requirements, each module after its own requirements."""
        graph: dict[str, set[str]] = {}
        waiting = list(modules)
        while waiting:
            name = waiting.pop()
            if name not in graph:
                graph[name] = _required(self[name])
                waiting += graph[name]
        return list(graphlib.TopologicalSorter({name: sorted(graph[name]) for name in sorted(graph)}).static_order())


def _text(theorem: Theorem, proofs: Sequence[tuple[Lemma, tuple[str, str]]]) -> str:
    """Return the file of some lemmas with their proofs, and the commands that print what they rest on.

    Coq is asked about all of them together: it goes through what a lemma rests on, arithmetic included, each time.
    """
    texts = {lemma.name: proof for lemma, proof in proofs}
    several = replace(theorem, lemmas=tuple(lemma for lemma, _ in proofs))
    name = f"{coq_name(theorem.name)}_lemmas'"  # no lemma has a prime in its name
    question = _question(name, [coq_name(theorem.name, lemma) for lemma in texts])
    return lemmas_text(several, lambda lemma: texts[lemma.name]) + question


def _question(together: str, names: Sequence[str]) -> str:
    """Return the commands that print the assumptions of theorems; several are joined in one new definition."""
    if len(names) < 2:
        return "".join(f"Print Assumptions {name}.\n" for name in names)
    conjunction = functools.reduce(
        lambda rest, name: f"(conj {name} {rest})", [f"(@{name})" for name in reversed(names)]
    )
    return f"Definition {together} := {conjunction}.\nPrint Assumptions {together}.\n"


def _proved(theorem: Theorem, lemma: Lemma) -> tuple[str, str]:
    """Return the proof of a lemma, or raise RuntimeError."""
    try:
        return LemmaProof(lemma, coq_name(theorem.name, lemma.name)).text()
    except (NoProofError, TypeError) as error:
        raise RuntimeError(f"the lemma {lemma.name!r} of {theorem.name} has no proof in Coq: {error}") from None


def _required(text: str) -> set[str]:
    """Return the modules of this library that a file requires."""
    return {name for source, _, names in _REQUIRE.findall(text) if source == "Convmatrix" for name in names.split()}


@dataclass(frozen=True)
class Compiled:
    """The result of compiling a file: why it does not compile, or an empty text, and the compiler's output."""

    error: str
    output: str

    @property
    def closed(self) -> int:
        """The number of theorems that rest on nothing else, or -1 if the output says anything more."""
        lines = [line for line in self.output.splitlines() if line.strip()]
        return len(lines) if all(line == CLOSED for line in lines) else -1

    def decision(self, certificate: dict[str, Any]) -> Decision:
        """Return the decision about the theorem of a file, with a certificate if it is proved."""
        if self.error:
            return undecided(f"coqc: {self.error}")
        if self.closed < 1:
            return undecided(f"it does not rest on Coq's logic alone: {self.output.strip()}")
        return Decision("proved", certificate)


class TheoremFiles:
    """The files of some theorems, compiled in a folder beside the compiled library."""

    def __init__(self, coqc: str, folder: Path, drafted: Sequence[_Drafted]) -> None:
        self.coqc = coqc
        self.folder = folder
        self.drafted = drafted
        self.library = _library(coqc, rule_text())
        self.sources = _Sources([theorem for theorem, _ in drafted])
        self.done: dict[str, Compiled] = {}
        for theorem, drafts in drafted:
            both = zip(theorem.lemmas, drafts, strict=True)
            written = [(lemma, draft) for lemma, draft in both if isinstance(draft, tuple)]
            self.sources.texts[f"Lemmas_{coq_name(theorem.name)}"] = _text(theorem, written)

    def accepts_together(self) -> bool:
        """Return whether Coq accepts all lemmas and all full statements, of which none is missing, read as one text."""
        names, modules = [], []
        for theorem, drafts in self.drafted:
            if not (_stated_in_full(theorem) and drafts) or any(isinstance(draft, Decision) for draft in drafts):
                return False
            name = coq_name(theorem.name)
            modules.append(f"Full_{name}")
            names += [f"Lemmas_{name}.{coq_name(theorem.name, lemma.name)}" for lemma in theorem.lemmas]
            names.append(f"Full_{name}.{full_name(theorem.name)}")
        try:
            order = self.sources.order(*modules)
        except RuntimeError:
            return False
        shared = [module for module in order if "_" not in module]
        if any(self.library.compile(module, self.sources[module]).error for module in shared):
            return False
        own = {module: _QUESTION.sub("", self.sources[module]) for module in order if "_" in module}
        found = self.compile_text("Together", _one_text(own, shared) + _question("together", names))
        accepted = not found.error and found.closed == 1
        self.done |= dict.fromkeys(own, Compiled("", CLOSED)) if accepted else {}
        return accepted

    def compile(self, module: str) -> Compiled:
        """Compile a module and all its requirements; return the result, or the first error."""
        try:
            order = self.sources.order(module)
        except RuntimeError as error:
            return Compiled(str(error), "")
        for name in order:
            known = self.library.compile(name, self.sources[name]) if "_" not in name else self._own(name)
            if known.error:
                return known
        return known

    def _own(self, module: str) -> Compiled:
        if module not in self.done:
            self.done[module] = self.compile_text(module, self.sources[module])
        return self.done[module]

    def compile_text(self, module: str, text: str) -> Compiled:
        """Compile a text as a module, and return the result; the modules that it requires must be compiled."""
        return _compiled(self.coqc, self.folder, module, text, [self.library.folder])


class Library:
    """The compiled library: the rule and the files written by hand, kept for the life of the process."""

    def __init__(self, coqc: str) -> None:
        self.coqc = coqc
        self.temporary = tempfile.TemporaryDirectory(prefix="convmatrix-coq-")
        self.folder = Path(self.temporary.name)
        self.done: dict[str, tuple[str, Compiled]] = {}
        self.lock = threading.Lock()  # theorems may be proved in several threads

    def compile(self, module: str, text: str) -> Compiled:
        """Compile a module, once for each text, and return the result; modules that it requires must be compiled."""
        with self.lock:
            if module not in self.done or self.done[module][0] != text:
                self.done[module] = text, _compiled(self.coqc, self.folder, module, text, [])
            return self.done[module][1]


@functools.lru_cache(maxsize=2)
def _library(coqc: str, rule: str) -> Library:
    """Return the library for a rule: another one where the code of the rule has changed."""
    del rule
    return Library(coqc)


def _compiled(coqc: str, folder: Path, module: str, text: str, others: Sequence[Path]) -> Compiled:
    (folder / f"{module}.v").write_text(text, "utf-8")
    paths = [argument for other in [folder, *others] for argument in ("-Q", str(other), "Convmatrix")]
    command = [coqc, "-q", *paths, f"{module}.v"]
    try:
        done = subprocess.run(  # noqa: S603 (files written here)
            command, cwd=folder, capture_output=True, encoding="utf-8", errors="replace", check=False, timeout=_SECONDS
        )
    except subprocess.TimeoutExpired:
        return Compiled(f"{module}.v was stopped after {_SECONDS:g} s", "")
    if done.returncode:
        return Compiled(" ".join(done.stderr.split()) or f"ended with status {done.returncode}", done.stdout)
    return Compiled("", done.stdout)


# --- one text ---------------------------------------------------------------------------------------------------------


def export_text(theorem: Theorem, proofs: bool = True) -> str:
    """Return a theorem as one text that plain ``coqc`` compiles; see `convmatrix.proofs.export`."""
    sources = _Sources([theorem], proofs)
    last = f"{'Full' if _stated_in_full(theorem) else 'Lemmas'}_{coq_name(theorem.name)}"
    head = [
        comment(f"Theorem {theorem.name}: {theorem.statement}"),
        comment("Generated by convmatrix; compile it with coqc, Coq 8.16 or later."),
    ]
    return "\n".join([*head, _one_text({module: sources[module] for module in sources.order(last)})])


def _one_text(texts: dict[str, str], compiled: Sequence[str] = ()) -> str:
    """Return modules as one text, in which each is a module; others are required from the compiled library."""
    required: dict[str, None] = {}
    blocks = []
    for module, text in texts.items():

        def imported(match: re.Match[str]) -> str:
            source, kind, names = match.group(1), (match.group(2) or "").strip(), match.group(3)
            if source != "Convmatrix":
                required.update(dict.fromkeys(names.split()))
            return f"{kind or 'Import'} {names}."

        body = _REQUIRE.sub(imported, text).replace("Convmatrix.", "")
        blocks.append(f"Module {module}.\n\n{body.strip()}\n\nEnd {module}.\n")
    head = [f"From Coq Require {' '.join(required)}."]
    head += [f"From Convmatrix Require {' '.join(compiled)}."] * bool(compiled)
    return "\n".join([*head, "", *blocks])
