"""The Dask client that does the work, and its workers."""

from __future__ import annotations

from importlib import import_module
from typing import Any, Final

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
    """Return what the scheduler knows of all workers; wait for a first one, and raise TimeoutError if none comes."""
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
