"""The files under deploy/ are what Ray, and what reads them for it, take."""

import subprocess
from typing import Any

import yaml

from stargate_assets_tests.conftest import ROOT

DEPLOY = ROOT / "deploy"


def test_ray_up_takes_its_file() -> None:
    from ray.autoscaler._private.util import prepare_config, validate_config

    stated = yaml.safe_load((DEPLOY / "ray_up.yaml").read_text())
    config: dict[str, Any] = prepare_config(stated)
    validate_config(config)
    nodes = config["available_node_types"]["local.cluster.node"]
    assert (nodes["min_workers"], nodes["max_workers"]) == (2, 2)


def test_ray_reads_kuberay_s_manifest_as_a_head_that_drives_and_two_nodes_of_eight_gpus() -> None:
    from ray.autoscaler._private.kuberay.autoscaling_config import (
        _derive_autoscaling_config_from_ray_cr,
    )

    volume, job = yaml.safe_load_all((DEPLOY / "kuberay.yaml").read_text())
    cluster = {
        "metadata": {"namespace": "any", "name": "any"},
        "spec": job["spec"]["rayClusterSpec"],
    }
    found = _derive_autoscaling_config_from_ray_cr(cluster)["available_node_types"]
    head, gpus = found["headgroup"], found["gpus"]
    assert (head["resources"]["CPU"], head["resources"].get("GPU", 0)) == (0, 0)
    assert (gpus["resources"]["CPU"], gpus["resources"]["GPU"]) == (32, 8)
    assert (gpus["min_workers"], gpus["max_workers"]) == (2, 2)
    (mounted,) = cluster["spec"]["headGroupSpec"]["template"]["spec"]["volumes"]
    assert mounted["persistentVolumeClaim"]["claimName"] == volume["metadata"]["name"]


def test_the_batch_script_is_bash() -> None:
    subprocess.run(["bash", "-n", DEPLOY / "slurm.sh"], check=True)  # noqa: S607
