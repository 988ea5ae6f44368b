"""The result of a check: the answer, the broken rows, a counterexample and an explanation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from convmatrix.arrays import KeepsReadOnly
from convmatrix.display.latex_tables import latex_text

if TYPE_CHECKING:
    from numpy.typing import NDArray

_LISTED = 8  # maximum number of broken rows that an explanation lists


@dataclass(frozen=True)
class Counterexample:
    """One entry of the tensor T for which a symmetry fails.

    ``T[row, column, weight] = count``, but ``T[moved_row, moved_column, weight] = moved_count``.

    Attributes
    ----------
    weight : tuple of int
        Index into the pattern's ``weight_shape``.
    row, column : int
    moved_row, moved_column : int
        Their images under the permutations, ``q[row]`` and ``p[column]``.
    count, moved_count : int
        The two entries of T, which differ.
    """

    weight: tuple[int, ...]
    row: int
    column: int
    moved_row: int
    moved_column: int
    count: int
    moved_count: int


@dataclass(frozen=True, eq=False, repr=False)
class Verdict(KeepsReadOnly):
    """Whether a layer is equivariant, for all weights.

    The truth value of a verdict is `holds`, so that it can be used as a condition: ``if check(...): ...``.

    Attributes
    ----------
    statement : str
        A description of the symmetry.
    broken_rows : array of bool
        Which outputs break the symmetry, in the shape of the output, ``(out_channels, *output_shape)`` for a layer.
    counterexample : Counterexample or None
        The first counterexample; None if the symmetry holds.
    subject : str
        A description of what was checked.
    output_shift : tuple of int or None
        For a cyclic shift of the input, the shift of the output to which ``broken_rows`` refers.
    reason : str
        Why the symmetry does not hold, if more is known than the broken rows; otherwise empty.

    Examples
    --------
    >>> import convmatrix as cm
    >>> from convmatrix.equivariance import check_shift
    >>> check_shift(cm.ConvGeometry(6, 3, padding="same"), 1)
    Verdict(holds=False, broken_rows=3 of 6)
    """

    statement: str
    broken_rows: NDArray[np.bool_]
    counterexample: Counterexample | None = None
    subject: str = "the layer"
    output_shift: tuple[int, ...] | None = None
    reason: str = ""

    def __post_init__(self) -> None:
        self.broken_rows.flags.writeable = False

    @property
    def holds(self) -> bool:
        """Whether the symmetry holds for all weights."""
        return not self.n_broken

    @property
    def n_broken(self) -> int:
        """Number of rows that break the symmetry."""
        return int(self.broken_rows.sum())

    def __bool__(self) -> bool:
        return self.holds

    def explain(self, format: Literal["text", "latex"] = "text") -> str:
        r"""Return the verdict as text or as a LaTeX paragraph.

        Examples
        --------
        >>> import convmatrix as cm
        >>> from convmatrix.equivariance import check_shift
        >>> print(check_shift(cm.ConvGeometry(6, 3, padding="same"), 1).explain())
        Refuted: the layer does not commute with the cyclic shift by 1 of its input, 1 of its output.
        3 of 6 rows of the index pattern T break the symmetry: 0, 1, 5.
        Counterexample: weight (0, 0, 0) has T[0, 5] = 0, but T[5, 4] = 1, where the symmetry takes row 0 and column 5.
        """
        if format == "latex":
            return self._latex()
        if format != "text":
            raise ValueError(f"format {format!r} is unknown; choose text or latex")
        lines = [f"{'Proved' if self.holds else 'Refuted'}: {self._sentence}."]
        if self.reason:
            lines.append(f"{self.reason[0].upper()}{self.reason[1:]}.")
        c = self.counterexample
        if self.holds:
            lines.append(
                f"The index pattern T is unchanged on all {self.broken_rows.size} rows, so it holds for all weights."
            )
        else:
            rows = f"{self.n_broken} of {self.broken_rows.size} rows of the index pattern T"
            lines.append(f"{rows} break the symmetry: {self._listed_rows()}.")
        if c is not None:
            lines.append(
                f"Counterexample: weight {c.weight} has T[{c.row}, {c.column}] = {c.count}, but "
                f"T[{c.moved_row}, {c.moved_column}] = {c.moved_count}, where the symmetry takes row {c.row} and "
                f"column {c.column}."
            )
        return "\n".join(lines)

    @property
    def _sentence(self) -> str:
        verb = "commutes with" if self.holds else "does not commute with"
        return f"{self.subject} {verb} {self.statement}"

    def _listed_rows(self) -> str:
        rows = np.flatnonzero(self.broken_rows)
        listed = ", ".join(str(row) for row in rows[:_LISTED].tolist())
        return listed + (f" and {len(rows) - _LISTED} more" if len(rows) > _LISTED else "")

    def _latex(self) -> str:
        c = self.counterexample
        sentence = latex_text(self._sentence)
        if c is None:
            return (
                f"\\textbf{{Proved.}} For every weight, {sentence}: $T_{{ijk}} = T_{{q(i)\\,p(j)\\,k}}$ for all "
                f"$i, j, k$, on all {self.broken_rows.size} rows."
            )
        rows, _, more = self._listed_rows().partition(" and ")
        listed = f"$i = {rows}$" + (f" and {more}" if more else "")
        weight = ",".join(map(str, c.weight))
        return (
            f"\\textbf{{Refuted.}} In general {sentence}: {self.n_broken} of {self.broken_rows.size} rows break the "
            f"symmetry ({listed}). At weight $k = ({weight})$, "
            f"$T_{{{c.row},{c.column},k}} = {c.count} \\ne {c.moved_count} = T_{{{c.moved_row},{c.moved_column},k}}$."
        )

    def record(self) -> dict[str, Any]:
        """Return the verdict as a dictionary for JSON.

        Examples
        --------
        >>> import convmatrix as cm
        >>> from convmatrix.equivariance import check_shift
        >>> check_shift(cm.ConvGeometry(4, 3, padding="same", boundary="circular"), 1).record()["holds"]
        True
        """
        c = self.counterexample
        return {
            "holds": self.holds,
            "statement": self.statement,
            "reason": self.reason,
            "output_shift": None if self.output_shift is None else list(self.output_shift),
            "n_broken": self.n_broken,
            "n_rows": self.broken_rows.size,
            "output_shape": list(self.broken_rows.shape),
            "broken_rows": np.flatnonzero(self.broken_rows).tolist(),
            "counterexample": None if c is None else {**vars(c), "weight": list(c.weight)},
        }

    def __repr__(self) -> str:
        return f"Verdict(holds={self.holds}, broken_rows={self.n_broken} of {self.broken_rows.size})"

    def _repr_html_(self) -> str:
        from convmatrix.display import verdict_html

        return verdict_html(self.holds, self.explain(), self.broken_rows)
