"""Closes a door of Ray Serve's replicas that nobody need go through."""

from __future__ import annotations

from typing import Any


def close_inner_door() -> None:
    """Have this process's replica listen for no requests of other replicas by gRPC.

    Serve opens a port for them on every interface, unpickles what comes, and asks nobody who they
    are (2.60, ``Replica._on_initialized``). Handles use it unless they are told
    ``_by_reference=True``, as ours is. To be called before the replica is initialized: in the
    constructor.
    """
    from ray.serve._private import replica

    def no_port(server: Any, address: str) -> int:
        return 0

    if not hasattr(replica, "add_port_to_grpc_server"):
        raise RuntimeError("This version of Ray Serve opens a port that cannot be closed.")
    replica.add_port_to_grpc_server = no_port
