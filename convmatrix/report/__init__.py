"""The report of a network: one row per node with shapes, counts, receptive field, shifts and norm, and the totals.

`convmatrix.Network.report` returns one. No matrix is built: counts are computed by formula, and receptive fields and
shifts in one pass through the network.

Examples
--------
>>> import convmatrix as cm
>>> report = cm.network.architecture("lenet5").report()
>>> report.total["parameters"], report.total["macs"]
(60000, 332824)
"""

from convmatrix.progress import Progress
from convmatrix.report.report_forms import Report, network_report

__all__ = ["Progress", "Report", "network_report"]


def __dir__() -> list[str]:
    return sorted(__all__)
