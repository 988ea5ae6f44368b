"""The report of a network: an object that prints a table which fits the terminal, and writes files."""

from __future__ import annotations

import csv
import io
import json
import os
import shutil
import textwrap
from dataclasses import dataclass
from decimal import ROUND_CEILING, Context
from typing import TYPE_CHECKING, Any, Final, overload

import numpy as np

from convmatrix.atomic import atomic_write
from convmatrix.display.latex_tables import TEXT_WIDTH, latex_table
from convmatrix.display.tables import (
    ShownAsTable,
    Table,
    by_x,
    column_widths,
    one_line,
    shorten,
    table_width,
    text_table,
)
from convmatrix.memory import in_words
from convmatrix.network import Network, as_network
from convmatrix.report.report_rows import Row, report_rows

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import DTypeLike

    from convmatrix.progress import Progress

_LEFT: Final = 2  # number of columns aligned to the left: the name and the kind
_SHORT_NAME: Final = 20  # width to which names are shortened before a column is dropped
_LONG_LIST: Final = 6  # maximum number of unknown nodes listed below the table
_ABSENT: Final = "-"
_LEAST_SHOWN: Final = 2  # notebooks leave out columns of this importance or less: shapes of inputs, biases and FLOPs
_MANY_ROWS: Final = 1000


@dataclass(frozen=True)
class Column:
    """A column of the table: its title, the text of a row in it, and its importance (0 is the least)."""

    title: str
    show: Callable[[Row], str]
    importance: int


def _number(name: str) -> Callable[[Row], str]:
    return lambda row: _ABSENT if row[name] is None else f"{row[name]:,}"


def _sizes(name: str) -> Callable[[Row], str]:
    return lambda row: _ABSENT if row[name] is None else by_x(row[name])


def _shift(row: Row) -> str:
    return _ABSENT if row["shift"] is None else "none" if row["only_identity"] else by_x(row["shift"])


COLUMNS: Final = (
    Column("node", lambda row: one_line(row["name"]), 99),
    Column("kind", lambda row: one_line(row["kind"]), 11),
    Column("input", lambda row: " + ".join(map(by_x, row["input_shapes"])) or _ABSENT, 2),
    Column("output", _sizes("output_shape"), 13),
    Column("parameters", _number("parameters"), 15),
    Column("biases", _number("biases"), 0),
    Column("nonzeros", _number("nonzeros"), 10),
    Column("density", lambda row: _ABSENT if row["density"] is None else f"{row['density']:.2g}", 7),
    Column("multiply-adds", _number("multiply_adds"), 12),
    Column("MACs", _number("macs"), 8),
    Column("FLOPs", _number("flops"), 1),
    Column("CSR", lambda row: _ABSENT if row["csr_bytes"] is None else in_words(row["csr_bytes"]), 5),
    Column("field", _sizes("field_size"), 9),
    Column("step", _sizes("field_stride"), 4),
    Column("shift", _shift, 6),
    Column("norm", lambda row: _ABSENT if row["norm_upper"] is None else _rounded_up(row["norm_upper"]), 14),
)
_PRINTED: Final = ("node", "kind", "output", "parameters", "nonzeros", "multiply-adds", "MACs", "field", "norm")


def _rounded_up(value: float) -> str:
    """Return an upper bound with four digits, rounded up unless it has four digits up to rounding errors."""
    nearest = f"{value:.4g}"
    if float(nearest) >= value * (1 - 1e-9):
        return nearest
    return f"{float(Context(prec=4, rounding=ROUND_CEILING).create_decimal_from_float(value)):.4g}"


@dataclass(frozen=True, eq=False, repr=False)
class Report(ShownAsTable):
    r"""The report of a network, as returned by `convmatrix.Network.report`.

    ``print(report)`` prints a table as wide as the terminal, omitting the least important columns if there is not
    enough room. A notebook displays the report as an HTML table.

    Attributes
    ----------
    network : Network
    rows : list of dict
        One per node, in the network's order, with plain Python values under the names listed in the notes.
    total : dict
        The totals under the same names. ``complete`` is whether all nodes are known, and ``unknown`` lists those
        that are not; their numbers are missing from the totals, which are then lower bounds.
    dtype : dtype
        The dtype of the values, for the counts of bytes.

    Notes
    -----
    The values of a row, by name:

    ``name``, ``kind``, ``inputs``, ``input_shapes``, ``output_shape``
        ``kind`` is the kind of the node, or the name of its function, rearrangement or unknown operator.
    ``parameters``, ``biases``
        Number of trained parameters, and number of biases among them.
    ``nonzeros``, ``density``, ``csr_bytes``
        Number of stored entries of the matrix of a linear node, their fraction of all entries, and bytes of the matrix
        in CSR format. They depend only on the structure: weights of zero are counted.
    ``multiply_adds``, ``macs``, ``flops``
        Operations of convolutions, dense layers, index patterns, trained pooling and matrix products; 0 for other
        nodes, as in published counts. ``macs`` is :math:`m \cdot k \cdot c` for m output positions and channels, k taps
        and c channels per group, and includes products with padding. ``multiply_adds`` excludes them and equals the
        number of nonzeros. ``flops`` is twice ``macs``: one multiplication and one addition per tap. A sum of n
        products has n - 1 additions; the n-th is that of the bias (or of zero), so biases are not counted separately.
        Additions of pooling, normalisation and branches are not counted.
    ``field_size``, ``field_stride``, ``field_start``, ``field_centre``, ``field_reason``
        The receptive field on each axis of the input, as in `convmatrix.graph.FieldSize`, or the reason why it has no
        size.
    ``shift``, ``shift_reason``
        The smallest cyclic shift on each axis of the input that is known to commute with the network up to the
        node, for all weights (`convmatrix.equivariance.known_shifts`): its multiples commute as well. It is the size of
        the input axis if only the identity is known to commute, as after zero padding.
    ``norm_lower``, ``norm_upper``, ``norm_reason``
        Bounds on the Lipschitz constant of the node in the 2-norm, allowing for rounding errors. For a convolution they
        are those of `convmatrix.spectral.norm_bounds`, for its own boundary.

    If the package does not know a node, the totals are lower bounds, and ``total["complete"]`` is False.

    Examples
    --------
    >>> import convmatrix as cm
    >>> report = cm.Network([cm.ConvGeometry((6, 6), (3, 3), out_channels=2)]).report()
    >>> print(report.to_text(width=60))
    network: 1x6x6 -> 2x4x4, 2 nodes
    node     kind         output  parameters  multiply-adds
    input    input         1x6x6           0              0
    layer 1  convolution   2x4x4          18            288
    total    network       2x4x4          18            288
    """

    network: Network
    rows: list[Row]
    total: Row
    dtype: np.dtype[Any]

    def __repr__(self) -> str:
        return f"Report({self.network.name!r}, {len(self.rows)} nodes)"

    def __str__(self) -> str:
        return self.to_text()

    # --- what people look at -----------------------------------------------------------------------------------------

    def to_text(self, width: int | None = None) -> str:
        """Return the table as text of the given width, by default that of the current terminal.

        To make the table fit, the least important columns are dropped first, and long names of nodes are shortened in
        the middle; numbers are never broken.
        """
        width = shutil.get_terminal_size().columns if width is None else max(int(width), 1)
        columns = list(self._columns())
        table = self._cells(columns)
        while (wanted := table_width(column_widths(table))) > width:
            names = column_widths(table)[0]
            room = names - (wanted - width)
            if room >= min(names, _SHORT_NAME) or len(columns) <= 2:
                if room < 1 and len(columns) == 2:
                    columns, room = columns[:1], width
                    table = self._cells(columns)
                table = [[shorten(row[0], max(room, 1)), *row[1:]] for row in table]
                break
            columns.remove(min(columns, key=lambda column: column.importance))
            table = self._cells(columns)
        title = textwrap.wrap(self._title(), width)
        caution = [] if self.total["complete"] else textwrap.wrap(self._caution(), width)
        left = sum(column.title in ("node", "kind") for column in columns)
        return "\n".join([*title, text_table(table, left), *caution])

    def _table(self) -> Table:
        columns = [column for column in self._columns() if column.importance > _LEAST_SHOWN]
        notes = () if self.total["complete"] else (self._caution(),)
        return Table(self._title(), self._cells(columns), _LEFT, totals=1, notes=notes, most_rows=_MANY_ROWS)

    def _title(self) -> str:
        ends = f"{by_x(self.network.input_shape)} -> {by_x(self.network.output_shape)}"
        return one_line(f"{self.network.name}: {ends}, {len(self.rows)} nodes")

    def _caution(self) -> str:
        unknown = self.total["unknown"]
        names = ", ".join(map(one_line, unknown[:_LONG_LIST]))
        more = f" and {len(unknown) - _LONG_LIST} more" if len(unknown) > _LONG_LIST else ""
        reasons = [(name, getattr(self.network[name].operation, "reason", "")) for name in unknown]
        first = next((f" {one_line(name)}: {one_line(reason)}." for name, reason in reasons if reason), "")
        return f"The totals are lower bounds: nothing is known of {names}{more}.{first}"

    def _columns(self) -> list[Column]:
        """Return the columns of the full table; the column of norms is included only if there are any."""
        normed = any(row["norm_upper"] is not None for row in self.rows)
        return [column for column in COLUMNS if column.title != "norm" or normed]

    def _cells(self, columns: Sequence[Column]) -> list[list[str]]:
        """Return the cells of the table: a header, the rows, and the totals."""
        spatial = list(self.network.input_shape[1:])
        total = {**self.total, "name": "total" if self.total["complete"] else "at least"}
        rows = [{**row, "only_identity": row["shift"] == spatial} for row in [*self.rows, total]]
        return [[column.title for column in columns], *([column.show(row) for column in columns] for row in rows)]

    # --- what other programs read ------------------------------------------------------------------------------------

    @overload
    def to_json(self, path: None = None) -> str: ...
    @overload
    def to_json(self, path: str | os.PathLike[str]) -> None: ...
    def to_json(self, path: str | os.PathLike[str] | None = None) -> str | None:
        """Return the report as a JSON object, or write it to a file atomically.

        Examples
        --------
        >>> import json
        >>> import convmatrix as cm
        >>> report = cm.network.architecture("lenet5").report()
        >>> json.loads(report.to_json())["rows"] == report.rows
        True
        """
        record = {
            "network": self.network.name,
            "input_shape": list(self.network.input_shape),
            "output_shape": list(self.network.output_shape),
            "dtype": self.dtype.name,
            "rows": self.rows,
            "total": self.total,
        }
        return _written(json.dumps(record, allow_nan=False) + "\n", path)

    @overload
    def to_csv(self, path: None = None) -> str: ...
    @overload
    def to_csv(self, path: str | os.PathLike[str]) -> None: ...
    def to_csv(self, path: str | os.PathLike[str] | None = None) -> str | None:
        """Return the rows, without the totals, as comma-separated values, or write them to a file.

        Names are written unchanged, lists as in JSON, and missing values as empty cells.

        Examples
        --------
        >>> import csv
        >>> import convmatrix as cm
        >>> report = cm.network.architecture("lenet5").report()
        >>> next(row["parameters"] for row in csv.DictReader(report.to_csv().splitlines()) if row["name"] == "C3")
        '1516'
        """
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(self.rows[0])
        for row in self.rows:
            writer.writerow(json.dumps(cell) if isinstance(cell, list) else cell for cell in row.values())
        return _written(text.getvalue(), path)

    @overload
    def to_latex(self, path: None = None, *, width: float = ...) -> str: ...
    @overload
    def to_latex(self, path: str | os.PathLike[str], *, width: float = ...) -> None: ...
    def to_latex(self, path: str | os.PathLike[str] | None = None, *, width: float = TEXT_WIDTH) -> str | None:
        r"""Return the report as a LaTeX table with the rules of booktabs, or write it to a file atomically.

        A wide table is set in a smaller font or split in two, and a long one continues on the next page; a comment at
        the top lists the packages that this needs besides booktabs.

        Parameters
        ----------
        path : str or path, optional
        width : float
            Width of a line in points, ``\the\textwidth`` of the document; by default that of the class ``article``.

        Examples
        --------
        >>> import convmatrix as cm
        >>> print(cm.Network([cm.ConvGeometry((6, 6), (3, 3))]).report().to_latex(width=469).splitlines()[0])
        \begin{tabular}{llrrrrrr}
        """
        columns = [column for column in self._columns() if column.title in _PRINTED]
        return _written(latex_table(self._cells(columns), _LEFT, totals=1, width=width) + "\n", path)


def _written(text: str, path: str | os.PathLike[str] | None) -> str | None:
    """Return a text, or write it to a file and return None."""
    if path is None:
        return text
    with atomic_write(path) as file:
        file.write(text.encode("utf-8"))
    return None


def network_report(
    network: Any,
    norms: bool = False,
    dtype: DTypeLike = np.float64,
    progress: Progress = None,
    *,
    client: Any = None,
) -> Report:
    """Return the report of a network; see `convmatrix.Network.report`.

    Parameters
    ----------
    network : Network, str, nn.Sequential or sequence of layers
        Anything that `convmatrix.network.as_network` accepts.
    norms, dtype, progress, client
        As for `convmatrix.Network.report`.

    Examples
    --------
    >>> network_report("vgg16").total["parameters"]
    138357544
    """
    made = as_network(network)
    return Report(made, *report_rows(made, norms, dtype, progress, client), np.dtype(dtype))
