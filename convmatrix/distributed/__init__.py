"""Matrices and reports that outgrow one machine, on the workers of a Dask client.

A row slab of a layer's matrix is rebuilt on a worker from the kernel, which every worker receives once, and is dropped
after use: no slab is shipped or stored. `map_slabs` applies a function to every slab, `SlabOperator` multiplies by the
matrix as a SciPy ``LinearOperator``, `save_slabs` writes the matrix in parts that `load_slabs` reads, and `slab_plan`
estimates beforehand what all this takes. `convmatrix.Network.report` bounds the norms of a network's nodes on a client.

This needs the packages dask and distributed, which ``pip install "convmatrix[distributed]"`` installs, and a
``distributed.Client`` of yours: with threads, with processes, or on a cluster.

Examples
--------
>>> import numpy as np
>>> import convmatrix as cm
>>> from distributed import Client
>>> layer = cm.ConvGeometry((40, 30), (3, 3), in_channels=2, out_channels=3, padding="same")
>>> kernel = np.ones(layer.weight_shape)
>>> with Client(processes=False, n_workers=1, threads_per_worker=2, dashboard_address=":0") as client:
...     counts = cm.distributed.map_slabs(lambda slab: slab.nnz, kernel, layer, 1200, client=client)
...     image = cm.distributed.SlabOperator(kernel, layer, client=client) @ np.ones(layer.n_in)
>>> sum(counts) == cm.estimate(layer).nonzeros, bool(image.max() == 18)
(True, True)
"""

from convmatrix.distributed.slab_files import SavedSlabs, load_slabs, save_slabs
from convmatrix.distributed.slab_operator import SlabOperator
from convmatrix.distributed.slab_sizes import SlabPlan, slab_plan
from convmatrix.distributed.slabs import map_slabs

__all__ = ["SavedSlabs", "SlabOperator", "SlabPlan", "load_slabs", "map_slabs", "save_slabs", "slab_plan"]


def __dir__() -> list[str]:
    return sorted(__all__)
