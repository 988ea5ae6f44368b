"""``convmatrix prove``: list and prove theorems that hold for every size."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final

from convmatrix.cli.console import NO, YES, CommandError, complain, say, say_json, say_result

if TYPE_CHECKING:
    import argparse

    from convmatrix.proofs import Proof

HELP: Final = "prove theorems for every size"
USAGE: Final = "convmatrix prove [NAME ... | --all] [options]"
DESCRIPTION: Final = """\
Prove theorems about convolution layers for all sizes and all weights. Without a
name, list the theorems.
"""
EPILOG: Final = """\
examples:
  convmatrix prove
  convmatrix prove circular-shift
  convmatrix prove --all --engine z3
  convmatrix prove circular-shift --engine coq
  convmatrix prove circular-shift --export coq > circular_shift.v
  convmatrix prove strided-shift --json > proof.json
  convmatrix prove --recheck proof.json
  convmatrix prove --all --latex > appendix.tex

exit status: 0 all proved, 1 something was not proved, 2 error
"""


def add_options(parser: argparse.ArgumentParser) -> None:
    """Declare the options of the command."""
    parser.add_argument("names", nargs="*", metavar="NAME", help="theorems to prove")
    parser.add_argument("--all", action="store_true", help="prove all of them")
    parser.add_argument(
        "--engine",
        choices=("sympy", "z3", "coq", "both"),
        default="sympy",
        help="decision procedure: sympy (default), z3 (needs the extra prove), coq (needs coqc), or both sympy and z3",
    )
    parser.add_argument("--recheck", metavar="FILE", help="verify a saved proof, without any search")
    output = parser.add_mutually_exclusive_group()
    output.add_argument(
        "--json", action="store_true", help="print each proof with its certificate, one JSON object per line"
    )
    output.add_argument("--export", choices=("coq",), help="print a theorem as one file for a proof assistant")
    output.add_argument("--latex", action="store_true", help="print theorems and proofs as a LaTeX appendix")


def run(args: argparse.Namespace) -> int:
    """List theorems, prove them, or check a saved proof; return the exit status."""
    from convmatrix import proofs
    from convmatrix.proofs.catalogue import all_theorems
    from convmatrix.proofs.proving import theorem

    if args.recheck is not None:
        if args.names or args.all:
            raise CommandError("--recheck reads a file and takes no theorems: drop the names, or drop --recheck")
        name = proofs.recheck(args.recheck)
        record = {"file": args.recheck, "theorem": name, "proved": True}
        say_result(args, lambda: record, lambda: f"{args.recheck}: theorem {name} holds, verified without search")
        return YES
    if args.names and args.all:
        raise CommandError("--all proves every theorem: drop the names, or drop --all")
    known = proofs.theorems()
    for name in args.names:
        theorem(name)
    if not args.names and not args.all:
        if args.latex or args.export:
            option = "--latex" if args.latex else "--export"
            raise CommandError(f"{option} prints proofs: name a theorem{', or give --all' if args.latex else ''}")
        for name, described in all_theorems().items():
            if args.json:
                say_json({"theorem": name, "statement": described.statement})
            else:
                say(f"{name}\n    {described.statement}")
        return YES
    names = known if args.all else tuple(args.names)
    if args.export and len(names) != 1:
        raise CommandError(f"--export prints one file, but {len(names)} theorems are given: name one")
    engines = ("sympy", "z3") if args.engine == "both" else (args.engine,)
    try:
        if args.latex:
            say(proofs.appendix(engines, names).rstrip())
            return YES
        if args.export:
            say(proofs.export(names[0], args.export).rstrip())
            return YES
        return _prove(args, names, engines)
    except RuntimeError as error:  # a theorem without a proof has no place in an appendix
        complain(str(error))
        return NO


def _prove(args: argparse.Namespace, names: tuple[str, ...], engines: tuple[str, ...]) -> int:
    from convmatrix.proofs import prove

    proved = True
    for name in names:
        for engine in engines:
            proof = prove(name, engine)
            proved &= proof.proved
            alone = len(names) * len(engines) == 1
            say_result(args, proof.record, proof.explain if alone else partial(_line, proof))
    return YES if proved else NO


def _line(proof: Proof) -> str:
    others = sorted({part.decided_by for part in proof.parts} - {proof.engine})
    count = sum(part.decided_by != proof.engine for part in proof.parts)
    shared = f", {count} of them by {others[0]}" if others else ""
    answer = "proved" if proof.proved else "NOT PROVED"
    return f"{answer:10} {proof.engine:5} {proof.name} ({len(proof.parts)} parts{shared})"
