"""A Ray cluster of several nodes on this machine, for tests: each node is a set of processes of its own."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
NODE = {"include_dashboard": False, "object_store_memory": 80 << 20}


class Nodes:
    """The nodes of a running cluster."""

    def __init__(self, cluster: Any) -> None:
        self._cluster = cluster

    @property
    def address(self) -> str:
        """Where it is."""
        return str(self._cluster.address)

    def add(self, cpus: int, **resources: float) -> Any:
        """Add a node, and wait until the cluster knows it."""
        node = self._cluster.add_node(num_cpus=cpus, resources=resources, **NODE)
        self._cluster.wait_for_nodes()
        return node

    def kill(self, node: Any) -> None:
        """End all processes of a node at once."""
        self._cluster.remove_node(node, allow_graceful=False)


@contextmanager
def running_cluster(cpus: int) -> Iterator[Nodes]:
    """Start a cluster of one node, and join it."""
    import ray
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": cpus, **NODE})
    ray.init(address=cluster.address, log_to_driver=False, logging_level="ERROR")
    try:
        yield Nodes(cluster)
    finally:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            ray.shutdown()
            cluster.shutdown()
