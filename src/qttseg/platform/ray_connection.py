"""Ray, for as long as it is needed."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import ray

from qttseg.errors import CollectionError

_OBJECT_STORE = 100 * 2**20
"""Bytes of shared memory of a local Ray; what travels is small."""


@contextmanager
def connected(address: str | None, *, cpus: int) -> Iterator[None]:
    """Have Ray inside the block; a Ray that this process is in already is used, and goes on afterwards.

    Args:
        address: Cluster to join, `auto` for the one this machine belongs to; None starts a local one.
        cpus: CPU cores of a local one.

    Raises:
        CollectionError: it cannot be reached or started.
    """
    if ray.is_initialized():
        yield
        return
    options: dict[str, Any] = {"address": address}
    if address is None:
        options = {
            "address": "local",
            "num_cpus": cpus,
            "object_store_memory": _OBJECT_STORE,
            "include_dashboard": False,
        }
    try:
        ray.init(log_to_driver=False, logging_level=logging.ERROR, **options)
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise CollectionError(f"cannot reach Ray at {address or 'this machine'}: {error}") from error
    try:
        yield
    finally:
        ray.shutdown()
