"""The workers of a Dask client: found, and given the nodes of a network, or chunks of the frequencies of large ones."""

from __future__ import annotations

import uuid
from collections import deque
from collections.abc import Callable, Sequence
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

from convmatrix.spectral.blocks import MAP_CHUNKS

if TYPE_CHECKING:
    from convmatrix.network import Node
    from convmatrix.spectral.blocks import Blocks

_WAIT: Final = 60  # seconds to wait for a first worker


def given_client(client: Any) -> Any:
    """Return a ``distributed.Client``: the given one, or by default the one created last."""
    try:
        distributed: Any = import_module("distributed")
    except ImportError as error:
        raise ImportError(
            f"convmatrix.distributed needs the packages dask and distributed ({error}); install them with "
            "pip install 'dask[distributed]'"
        ) from error
    if client is None:
        try:
            client = distributed.default_client()
        except ValueError:
            raise ValueError(
                "client=None, and there is no client in this process; create one with distributed.Client(), or give "
                "client="
            ) from None
    if not isinstance(client, distributed.Client) or client.asynchronous:
        kind = "an asynchronous client" if isinstance(client, distributed.Client) else f"a {type(client).__name__}"
        raise TypeError(f"client must be a distributed.Client that is not asynchronous, but is {kind}")
    if client.status != "running":
        raise ValueError(f"the client is {client.status}, but must be running; create another distributed.Client()")
    return client


def workers_of(client: Any) -> dict[str, Any]:
    """Return the scheduler's information on all workers; wait for a first one, and raise TimeoutError if none comes."""
    every = {"n_workers": -1}  # some versions of distributed return five by default
    workers: dict[str, Any] = client.scheduler_info(**every)["workers"]
    if not workers:
        try:
            client.wait_for_workers(1, timeout=_WAIT)
        except TimeoutError as error:
            raise TimeoutError(
                f"the client {client!r:.200} has no workers: none came within {_WAIT} seconds; start one, for instance "
                "with cluster.scale(1)"
            ) from error
        workers = client.scheduler_info(**every)["workers"]
    return workers


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
    """Return the function of a node; the chunks of its frequencies become separate tasks."""
    from distributed import get_client, secede

    seceded = False

    def map_chunks(blocks: Blocks, work: Callable[..., Any], chunks: list[Any]) -> list[list[Any]]:
        nonlocal seceded
        if len(chunks) == 1:
            return [blocks.map_chunk(work, chunks[0])]
        client = get_client()
        if not seceded:
            secede()  # so that this thread, which only waits from now on, makes room for a chunk
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
