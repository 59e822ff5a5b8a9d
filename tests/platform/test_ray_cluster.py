from pathlib import Path
from typing import Any

import pytest
import yaml
from ray.autoscaler._private.util import prepare_config, validate_config

CLUSTER = Path(__file__).parents[2] / "ray_cluster.yaml"


@pytest.fixture
def cluster() -> dict[str, Any]:
    # What `ray up` does first: fill in defaults, then check against Ray's own schema and rules.
    prepared: dict[str, Any] = prepare_config(yaml.safe_load(CLUSTER.read_text()))
    validate_config(prepared)
    return prepared


def test_ray_accepts_the_cluster_and_scales_gpu_workers_from_none_to_eight(cluster: dict[str, Any]):
    worker = cluster["available_node_types"]["gpu_worker"]
    assert (worker["min_workers"], worker["max_workers"], cluster["max_workers"]) == (0, 8, 8)
    assert cluster["available_node_types"]["head"]["resources"] == {"CPU": 0}
    assert cluster["head_node_type"] == "head"


def test_every_machine_installs_this_code(cluster: dict[str, Any]):
    assert cluster["file_mounts"]["~/qttseg"] == "."
    for commands in (cluster["head_setup_commands"], cluster["worker_setup_commands"]):
        assert any("pip install" in command and "~/qttseg" in command for command in commands)
    assert any("--autoscaling-config" in command for command in cluster["head_start_ray_commands"])
    assert any("$RAY_HEAD_IP" in command for command in cluster["worker_start_ray_commands"])
