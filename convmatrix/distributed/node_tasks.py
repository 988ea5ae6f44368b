"""A function of each node of a network on Dask workers; nodes with many frequencies occupy several workers."""

from __future__ import annotations

import uuid
from collections import deque
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from convmatrix.distributed.clients import given_client, workers_of
from convmatrix.spectral.blocks import MAP_CHUNKS

if TYPE_CHECKING:
    from convmatrix.network import Node
    from convmatrix.spectral.blocks import Blocks


def map_nodes(
    function: Callable[[Node], Any], nodes: Sequence[Node], client: Any, done: Callable[[Node], None]
) -> dict[str, Any]:
    """Return ``function(node)`` for some nodes of a network, by name, computed on the workers of a client.

    Nodes are sent in the given order, a few more than there are threads. Where the function takes the norm of the
    blocks of many frequencies, as `convmatrix.spectral.norm_bounds` does, these are computed in chunks, which other
    workers share. Chunks and the order in which they are reduced do not depend on the workers.

    Parameters
    ----------
    function : callable
        At the top level of a module that workers can import.
    nodes : sequence of Node
    client : distributed.Client
    done : callable
        Called with each node when its result is there.
    """
    from distributed.client import wait

    client = given_client(client)
    workers_of(client)  # so that a cluster without any is not waited for in silence
    waiting, running, results = deque(nodes), dict[Any, Any](), dict[str, Any]()
    try:
        while waiting or running:
            most = 1 + max(sum(client.nthreads().values()), 1)
            while waiting and len(running) < most:
                node = waiting.popleft()
                key = f"node-{uuid.uuid4().hex}"
                running[client.submit(_on_worker, function, node, key=key, pure=False)] = node
            finished, _ = wait(list(running), return_when="FIRST_COMPLETED")
            for future in finished:
                node = running.pop(future)
                results[node.name] = future.result()
                done(node)
    finally:
        for future in running:
            future.release()
    return results


def _on_worker(function: Callable[[Node], Any], node: Node) -> Any:
    """Return the function of a node; the chunks of its frequencies become tasks of their own."""
    from distributed import get_client, secede

    seceded = False

    def map_chunks(blocks: Blocks, work: Callable[..., Any], chunks: list[Any]) -> list[list[Any]]:
        nonlocal seceded
        if len(chunks) == 1:
            return [blocks.map_chunk(work, chunks[0])]
        client = get_client()
        if not seceded:
            secede()  # so that this thread, which only waits from here on, leaves its place to a chunk
            seceded = True
        shared = client.scatter(blocks, hash=False)
        futures = client.map(_map_chunk, chunks, blocks=shared, work=work, pure=False, priority=1)
        found: list[list[Any]] = client.gather(futures)
        return found

    token = MAP_CHUNKS.set(map_chunks)
    try:
        return function(node)
    finally:
        MAP_CHUNKS.reset(token)


def _map_chunk(first: Any, blocks: Blocks, work: Callable[..., Any]) -> list[Any]:
    return blocks.map_chunk(work, first)
