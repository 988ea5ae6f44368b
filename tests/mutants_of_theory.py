"""The attack on the theory: faults in the one-axis rule, in the sizes and in the lemmas, made by editing their code.

``python -m tests.mutants_of_theory`` makes every fault of some kinds in `convmatrix.boundary` and, as a sample, in the
lemmas of the catalogue: another sign, a constant off by one, bounds swapped or made strict, a hypothesis dropped,
another boundary, branches or arguments exchanged. For each it answers two questions.

Is it noticed? A fault of the rule has to make a lemma false or undecided, or an explicit matrix wrong. One that nothing
notices survives; it must be listed in `EQUIVALENT` with the reason why no theorem can notice it.

Is anything false proved? A lemma for which plain integers give a counterexample, looked for here with seeds and sizes
of its own, is given to both engines, whose own trials on plain integers are switched off: they have to find it
undecided or refuted by symbols alone. A false lemma that is proved is a hole in an engine.

    python -m tests.mutants_of_theory --kind rule       only the faults of convmatrix/boundary.py
    python -m tests.mutants_of_theory --lemmas 500      as many faults of lemmas, drawn at random
    python -m tests.mutants_of_theory --every 20        each 20th fault, for a quick look

The exit status is 1 if a false lemma is proved, or if a fault of the rule survives that is not listed.
"""

from __future__ import annotations

import argparse
import ast
import copy
import multiprocessing
import random
import signal
import sys
import types
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Final

from convmatrix import boundary
from convmatrix.boundary import BOUNDARIES
from convmatrix.proofs import search, smt
from convmatrix.proofs.catalogue import all_theorems
from convmatrix.proofs.search import decide_with_sympy
from convmatrix.proofs.smt import decide_with_z3
from convmatrix.proofs.statements import Decision, Lemma, Theorem, evaluate, example_holds

WORDS: Final = ("same", "same_lower", "full", "valid")
CALLS: Final = (
    "Axis",
    "tap_position",
    "read_sample",
    "read_terms",
    "forward_outputs",
    "forward_padding",
    "transposed_outputs",
)
CALLS_OF_RULE: Final = (*CALLS, "transposed_padding", "position", "_split", "where", "select")
TRIALS: Final = 1500
LIMIT: Final = 240  # seconds for all that is done about one mutant

_ZERO: Final = "a total of 0 gives 0 on either branch"
_CANCEL: Final = "on one sample the terms of turns cancel: -2 t and 2 t of that sample"
_SUM: Final = "the number of outputs depends on the sum of the paddings only"

EQUIVALENT: Final[dict[str, str]] = {
    "read_sample: 0 -> -1": "position -1 is then returned as it is, which is NOTHING",
    "read_sample: position < 0 -> position <= 0 (2)": "replicate: position 0 reads sample 0 on either branch",
    "read_sample: 0 -> 1 (2)": "replicate: position 0 reads sample 0 on either branch",
    "read_terms: size > 1 -> size >= 1 (2)": _CANCEL,
    "read_terms: 1 -> 0 (5)": _CANCEL,
    "forward_padding: total > 0 -> total >= 0": _ZERO,
    "forward_padding: 0 -> -1 (3)": _ZERO,
    "transposed_padding: total > 0 -> total >= 0": _ZERO,
    "transposed_padding: 0 -> -1 (3)": _ZERO,
    "transposed_padding: total < 0 -> total <= 0": _ZERO,
    "transposed_padding: 0 -> 1 (5)": _ZERO,
    "forward_axis: forward_outputs(size, span, stride, low, high) -> "
    "forward_outputs(size, span, stride, high, low)": _SUM,
    "transposed_axis: transposed_outputs(size, span, stride, low, high, extra) -> "
    "transposed_outputs(size, span, stride, high, low, extra)": _SUM,
}
"""Faults of the rule that change nothing which a theorem could notice, with the reason."""


# --- edits ------------------------------------------------------------------------------------------------------------

_OTHER: Final[dict[type[ast.AST], tuple[type[ast.AST], ...]]] = {
    ast.Add: (ast.Sub,),
    ast.Sub: (ast.Add,),
    ast.Mult: (ast.Add,),
    ast.FloorDiv: (ast.Mod,),
    ast.Mod: (ast.FloorDiv,),
    ast.Lt: (ast.LtE, ast.GtE),
    ast.LtE: (ast.Lt, ast.Gt),
    ast.Gt: (ast.GtE, ast.LtE),
    ast.GtE: (ast.Gt, ast.Lt),
    ast.Eq: (ast.NotEq,),
    ast.NotEq: (ast.Eq,),
}
_METHODS: Final = {"both": "either", "either": "both", "equal": "different", "different": "equal"}


def edits(node: ast.AST) -> Iterator[ast.AST]:
    """Yield what may stand in the place of a node."""
    if isinstance(node, ast.Constant):
        yield from map(ast.Constant, _other_constants(node.value))
    elif isinstance(node, ast.BinOp):
        yield from (ast.BinOp(node.left, other(), node.right) for other in _OTHER.get(type(node.op), ()))  # type: ignore[arg-type]
        yield from (node.left, node.right)
        if isinstance(node.op, ast.Sub | ast.Mod | ast.FloorDiv):
            yield ast.BinOp(node.right, node.op, node.left)
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        yield node.operand
    elif isinstance(node, ast.Compare) and len(node.ops) == 1:
        for other in _OTHER.get(type(node.ops[0]), ()):
            yield ast.Compare(node.left, [other()], node.comparators)  # type: ignore[list-item]
    elif isinstance(node, ast.IfExp):
        yield ast.IfExp(node.test, node.orelse, node.body)
    elif isinstance(node, ast.If):
        yield ast.If(ast.UnaryOp(ast.Not(), node.test), node.body, node.orelse)
    elif isinstance(node, ast.Return) and isinstance(node.value, ast.Tuple):
        yield from (ast.Return(ast.Tuple(swapped, ast.Load())) for swapped in _swaps(node.value.elts))
    elif isinstance(node, ast.Call):
        yield from _other_calls(node)


def _other_constants(value: object) -> Iterator[Any]:
    if isinstance(value, bool):
        yield not value
    elif isinstance(value, int):
        yield from (value + 1, value - 1)
    for words in (BOUNDARIES, WORDS):
        if value in words:
            yield words[(words.index(value) + 1) % len(words)]  # type: ignore[arg-type]


def _other_calls(node: ast.Call) -> Iterator[ast.AST]:
    name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
    if name in _METHODS and isinstance(node.func, ast.Attribute):
        yield ast.Call(ast.Attribute(node.func.value, _METHODS[name], ast.Load()), node.args, node.keywords)
    if name == "assume":
        for place in range(len(node.args)):
            yield ast.Call(node.func, [*node.args[:place], *node.args[place + 1 :]], [])
    elif name == "within":
        yield ast.Call(node.func, [node.args[0], ast.BinOp(node.args[1], ast.Add(), ast.Constant(1))], [])
    elif name in ("select", "where"):
        yield ast.Call(node.func, [node.args[0], node.args[2], node.args[1]], [])
    elif name == "implies":
        yield ast.Call(node.func, node.args[::-1], [])
    elif name in CALLS_OF_RULE:
        yield from (ast.Call(node.func, swapped, node.keywords) for swapped in _swaps(node.args))


def _swaps(parts: Sequence[ast.expr]) -> Iterator[list[ast.expr]]:
    """Yield a list with two neighbours exchanged, if they differ."""
    for place in range(len(parts) - 1):
        if ast.dump(parts[place]) != ast.dump(parts[place + 1]):
            yield [*parts[:place], parts[place + 1], parts[place], *parts[place + 2 :]]


@dataclass(frozen=True)
class Mutant:
    """A fault: its kind, its file and function, the change, and the position of the change."""

    kind: str
    path: Path
    function: str
    change: str
    line: int  # of the function
    node: int  # number of the node in the function
    edit: int  # number of the edit of the node

    @property
    def key(self) -> str:
        """The name of the fault, which does not depend on line numbers."""
        return f"{self.function}: {self.change}"

    def tree(self) -> ast.Module:
        """Return the module with the fault."""
        tree = ast.parse(self.path.read_text())
        own = next(n for n in ast.walk(tree) if isinstance(n, ast.FunctionDef) and n.lineno == self.line)
        target = list(_code(own))[self.node]
        _Replace(target, copy.deepcopy(list(edits(target))[self.edit])).visit(own)
        return ast.fix_missing_locations(tree)


def mutants_of(path: Path, kind: Callable[[str], str | None]) -> Iterator[Mutant]:
    """Yield the faults of the functions of a module that have a kind."""
    tree = ast.parse(path.read_text())
    for function in (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)):
        found = kind(function.name)
        known: Counter[str] = Counter()
        for number, node in enumerate(_code(function) if found else ()):
            for place, edit in enumerate(edits(node)):
                change = f"{_text(node)} -> {_text(edit)}"
                known[change] += 1
                again = f" ({known[change]})" if known[change] > 1 else ""
                yield Mutant(str(found), path, function.name, change + again, function.lineno, number, place)


def _text(node: ast.AST) -> str:
    return ast.unparse(ast.fix_missing_locations(copy.deepcopy(node.test if isinstance(node, ast.If) else node)))


def _code(node: ast.AST) -> Iterator[ast.AST]:
    """Yield the nodes of a function's code, without annotations, docstrings, messages and functions within."""
    if isinstance(node, ast.FunctionDef):
        for part in node.body:
            yield from _code(part)
        return
    if isinstance(node, ast.Raise | ast.JoinedStr) or (
        isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    ):
        return
    yield node
    for child in ast.iter_child_nodes(node):
        if not isinstance(child, ast.expr_context | ast.operator | ast.cmpop):
            yield from _code(child)


class _Replace(ast.NodeTransformer):
    def __init__(self, target: ast.AST, edit: ast.AST) -> None:
        self.target, self.edit = target, edit

    def visit(self, node: ast.AST) -> Any:
        return self.edit if node is self.target else self.generic_visit(node)


RULE: Final = ("choose", "tap_position", "read_sample", "read_terms", "sample", "terms", "position", "weight")
SIZES: Final = (
    "forward_outputs",
    "forward_padding",
    "transposed_outputs",
    "transposed_padding",
    "_split",
    "forward_axis",
    "transposed_axis",
)


def mutants_of_rule() -> list[Mutant]:
    """Return the faults of the one-axis rule and of the sizes."""
    path = Path(boundary.__file__)
    return list(mutants_of(path, lambda name: "rule" if name in RULE else "sizes" if name in SIZES else None))


def mutants_of_lemmas() -> list[Mutant]:
    """Return the faults of the lemmas of the catalogue."""
    folder = Path(boundary.__file__).parent / "proofs" / "catalogue"
    paths = sorted(path for path in folder.glob("*.py") if path.stem not in ("__init__", "symbol_matrices"))
    return [
        mutant
        for path in paths
        for mutant in mutants_of(path, lambda name: "lemma" if name.endswith("_lemma") else None)
    ]


# --- what is done about one mutant ------------------------------------------------------------------------------------


@dataclass
class Finding:
    """What was found out about a mutant.

    Attributes
    ----------
    noticed : str
        What notices a fault of the rule: a lemma, or the matrices of a theorem; empty if nothing does.
    false, proved : list of str
        The lemmas that plain integers refute, and those of them that an engine proves.
    verdicts : list of str
        What the engines say about the false lemmas, or about a lemma with a fault that is not refuted.
    """

    noticed: str = ""
    false: list[str] = field(default_factory=list)
    proved: list[str] = field(default_factory=list)
    verdicts: list[str] = field(default_factory=list)


class _TimeUpError(Exception):
    """Raised by the alarm."""


def _ring(*_: object) -> None:
    raise _TimeUpError


def within_seconds(seconds: float, function: Callable[[], Any], otherwise: Any) -> Any:
    """Return what a function returns, or a value if it takes longer, in seconds of the processor."""
    signal.signal(signal.SIGPROF, _ring)
    signal.setitimer(signal.ITIMER_PROF, seconds)
    try:
        return function()
    except _TimeUpError:
        return otherwise
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)


def falsified(lemma: Lemma, trials: int = TRIALS) -> bool:
    """Return whether plain integers refute a lemma: its hypotheses hold and its claim, or a step, does not."""
    rng = random.Random(20)
    names = list(lemma.example)
    for trial in range(trials):
        spread = (1, 2, 4, 9)[trial % 4]
        moved = trial % 2  # half of them near the example, where the hypotheses are likely to hold
        values = {
            name: (lemma.example[name] if moved else 0) + rng.choice((0, rng.randint(-spread, spread)))
            for name in names
        }
        hypotheses, claim = evaluate(lemma.build, values)
        if hypotheses and not claim:
            return True
    return evaluate(lemma.build, lemma.example) == (True, False)


def engines_on(lemma: Lemma, seconds: float) -> dict[str, str]:
    """Return the status that each engine gives a lemma by symbols alone, without its trials on plain integers."""
    found = {}
    for name, decide in (("sympy", decide_with_sympy), ("z3", decide_with_z3)):
        decision = within_seconds(seconds, partial(decide, lemma), Decision("undecided"))
        sure = decision.proved and example_holds(lemma)
        found[name] = "proved" if sure else "undecided" if decision.proved else decision.status
    return found


def install_rule(mutant: Mutant) -> None:
    """Give the functions of `convmatrix.boundary` the code of the mutant, for all modules that use them."""
    module = types.ModuleType(boundary.__name__)
    exec(compile(mutant.tree(), str(mutant.path), "exec"), module.__dict__)
    for ours, theirs in ((boundary, module), (boundary.Axis, module.Axis)):
        for name in (*RULE, *SIZES):
            if isinstance(vars(ours).get(name), types.FunctionType):
                vars(ours)[name].__code__ = vars(theirs)[name].__code__


ABOUT_SIZES: Final = ("odd-padding", "transposed-sizes", "output-sizes")


def attack_rule(mutant: Mutant, seconds: float, most: int) -> Finding:
    """Return what is found out about a fault of the rule or of the sizes."""
    install_rule(mutant)
    known = all_theorems()
    first = ABOUT_SIZES if mutant.kind == "sizes" else ("tap-weights", "short-axes", "boundary-adjoint")
    theorems = [known[name] for name in (*first, *(name for name in known if name not in first))]
    about, others = theorems[: len(first)], theorems[len(first) :]
    found = Finding()
    for trials in (150, TRIALS):
        for theorem in theorems:
            for lemma in theorem.lemmas:
                if len(found.false) < most and lemma.name not in found.false and _refuted_by_integers(lemma, trials):
                    found.false.append(lemma.name)
                    found.noticed = found.noticed or f"{theorem.name}: {lemma.name}"
                    _judge(lemma, seconds, found)
        if not found.noticed:
            found.noticed = _undecided(about, seconds or 5) or _wrong_matrix(theorems)
        if found.noticed:
            return found
    found.noticed = _undecided(others, seconds or 5)
    return found


def _refuted_by_integers(lemma: Lemma, trials: int) -> bool:
    try:
        return falsified(lemma, trials)
    except (TypeError, ValueError, IndexError):
        return False  # the code does not run; the matrices or the engines have to notice


def _judge(lemma: Lemma, seconds: float, found: Finding) -> None:
    if not seconds:
        found.verdicts.append("not given to the engines")
        return
    verdicts = engines_on(lemma, seconds)
    found.verdicts.append(f"{verdicts['sympy']}, {verdicts['z3']}")
    found.proved += [f"{lemma.name} by {engine}" for engine, status in verdicts.items() if status == "proved"]


def _undecided(theorems: Sequence[Theorem], seconds: float) -> str:
    """Return the first lemma that the SymPy engine does not prove any more."""
    for theorem in theorems:
        for lemma in theorem.lemmas:
            decision = within_seconds(seconds, partial(decide_with_sympy, lemma), None)
            if decision is not None and not (decision.proved and example_holds(lemma)):
                return f"{theorem.name}: {lemma.name} ({decision.status})"
    return ""


def _wrong_matrix(theorems: Sequence[Theorem]) -> str:
    """Return the first theorem that explicit matrices contradict."""
    for theorem in theorems:
        try:
            if not all(holds for _, holds in theorem.on_matrices()):
                return f"{theorem.name}: matrices"
        except Exception as error:
            return f"{theorem.name}: matrices ({type(error).__name__})"
    return ""


def attack_lemma(mutant: Mutant, seconds: float, most: int) -> Finding:
    """Return what is found out about a lemma with a fault."""
    name = f"convmatrix.proofs.catalogue.{mutant.path.stem}"
    module = types.ModuleType(name)
    found = Finding(noticed="-")
    try:
        exec(compile(mutant.tree(), str(mutant.path), "exec"), module.__dict__)
    except Exception as error:
        found.verdicts.append(f"not a lemma ({type(error).__name__})")
        return found
    touched = {
        lemma.name: lemma
        for theorem in vars(module).values()
        if isinstance(theorem, Theorem)
        for lemma in theorem.lemmas
        if lemma.build.__qualname__.partition(".")[0] == mutant.function and lemma.build.__module__ == name
    }
    for lemma in list(touched.values())[:most]:
        try:
            false = falsified(lemma)
        except (TypeError, ValueError, IndexError):
            found.verdicts.append("not a claim")
            continue
        if false:
            found.false.append(lemma.name)
            _judge(lemma, seconds, found)
            continue
        verdicts = engines_on(lemma, seconds)
        found.verdicts.append(f"{verdicts['sympy']}, {verdicts['z3']} (not refuted by integers)")
        if sorted(verdicts.values()) == ["proved", "refuted"]:
            found.proved += [f"{lemma.name} by {engine}" for engine in verdicts if verdicts[engine] == "proved"]
    return found


def _no_trials(lemma: Lemma) -> None:
    """Look for no counterexample, in place of the engines' own trials."""


def attack(mutant: Mutant, seconds: float, most: int = 1) -> Finding:
    """Return what is found out about a mutant, in a process of its own."""
    context = multiprocessing.get_context("fork")
    ours, theirs = context.Pipe(duplex=False)

    def work() -> None:
        vars(search)["counterexample"] = vars(smt)["counterexample"] = _no_trials
        vars(smt)["_MILLISECONDS"] = max(int(1000 * seconds), 100)
        theirs.send((attack_lemma if mutant.kind == "lemma" else attack_rule)(mutant, seconds, most))

    process = context.Process(target=work)
    process.start()
    theirs.close()
    try:
        return ours.recv() if ours.poll(LIMIT) else Finding(verdicts=[f"no end within {LIMIT} s"])
    except EOFError:
        return Finding(noticed="the process ended")
    finally:
        process.kill()
        process.join()


# --- the table --------------------------------------------------------------------------------------------------------


def chosen(kind: str, lemmas: int, every: int, seed: int) -> list[Mutant]:
    """Return the mutants to run: all of the rule, and as many of the lemmas as are wanted, drawn at random."""
    rule = mutants_of_rule() if kind != "lemmas" else []
    drawn = mutants_of_lemmas() if kind != "rule" else []
    if drawn:
        drawn = random.Random(seed).sample(drawn, min(lemmas, len(drawn)))
    return [*rule, *drawn][::every]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the attack, print its table, and return 0 if no false lemma is proved and no fault of the rule survives."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.mutants_of_theory", description=(__doc__ or "").split("\n")[0]
    )
    parser.add_argument("--kind", choices=["all", "rule", "lemmas"], default="all")
    parser.add_argument("--lemmas", type=int, default=200, help="number of faults of lemmas")
    parser.add_argument("--every", type=int, default=1, help="run each N-th mutant only")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--engines-every", type=int, default=1, help="judge each N-th fault of the rule only")
    parser.add_argument("--seconds", type=float, default=5, help="processor time for each engine and lemma")
    parser.add_argument("--workers", type=int, default=1)
    options = parser.parse_args(arguments)
    mutants = chosen(options.kind, options.lemmas, options.every, options.seed)
    with ThreadPoolExecutor(options.workers) as pool:
        given = [
            options.seconds * (mutant.kind == "lemma" or number % options.engines_every == 0)
            for number, mutant in enumerate(mutants)
        ]
        findings = pool.map(attack, mutants, given)
        rows = list(_printed(zip(mutants, findings, strict=True)))
    return summary(rows)


def _printed(rows: Iterable[tuple[Mutant, Finding]]) -> Iterator[tuple[Mutant, Finding]]:
    for number, (mutant, found) in enumerate(rows):
        noticed = found.noticed or f"NOTHING: {EQUIVALENT.get(mutant.key, 'it survives')}"
        told = "; ".join([*found.verdicts, *(f"FALSE, BUT PROVED: {lemma}" for lemma in found.proved)])
        print(f"{number:4} {mutant.kind:6} {mutant.key}\n{'':12}{noticed} | {told}", flush=True)
        yield mutant, found


def summary(rows: Sequence[tuple[Mutant, Finding]]) -> int:
    """Print what the attack found, and return the exit status."""
    rule = [(mutant, found) for mutant, found in rows if mutant.kind != "lemma"]
    lemmas = [found for mutant, found in rows if mutant.kind == "lemma"]
    words = ("nothing" if not f.noticed else "matrices" if "matrices" in f.noticed else "a lemma" for _, f in rule)
    by = Counter(words)
    survivors = [mutant.key for mutant, found in rule if not found.noticed and mutant.key not in EQUIVALENT]
    unneeded = [mutant.key for mutant, found in rule if found.noticed and mutant.key in EQUIVALENT]
    false = sum("not given" not in verdict for _, found in rows if found.false for verdict in found.verdicts)
    proved = [(mutant.key, lemma) for mutant, found in rows for lemma in found.proved]
    print(f"\n{len(rows)} mutants, {len(rule)} of the rule and the sizes, {len(lemmas)} of lemmas")
    print(f"faults of the rule noticed by {', '.join(f'{what}: {count}' for what, count in sorted(by.items()))}")
    print(f"lemmas with a fault that are false: {sum(bool(found.false) for found in lemmas)}")
    print(f"false lemmas given to both engines: {false}; proved: {len(proved)}")
    for what, listed in (("survives", survivors), ("is listed as equivalent, but noticed", unneeded)):
        for key in listed:
            print(f"{what}: {key}")
    for key, lemma in proved:
        print(f"false, but proved: {lemma}, with {key}")
    return int(bool(survivors or unneeded or proved))


if __name__ == "__main__":
    sys.exit(main())
