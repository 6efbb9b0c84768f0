"""What clusters/kuberay gives to Kubernetes is what Kubernetes, KubeRay and the platform know."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import json
import shlex
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml
from kuberay import KINDS, PodMonitor, RayCluster, RayClusterSpec, RayJob, RayService
from pydantic import ValidationError

from aiforge.batch import read_recipe
from aiforge.settings import Settings

KUBERAY = Path(__file__).parents[2] / "clusters" / "kuberay"
KUBERNETES = "1.33"
OVERLAYS = ("service", "batch")
GIB = 1 << 30


@cache
def rendered(overlay: str) -> list[dict[str, Any]]:
    """The objects of an overlay as `kubectl apply -k` would send them."""
    kubectl = Path(sys.executable).with_name("kubectl")
    done = subprocess.run(
        [kubectl, "kustomize", KUBERAY / overlay], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return list(yaml.safe_load_all(done.stdout))


def the(overlay: str, kind: str) -> dict[str, Any]:
    (found,) = [each for each in rendered(overlay) if each["kind"] == kind]
    return found


@pytest.fixture(params=OVERLAYS)
def overlay(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def cluster_of(overlay: str) -> RayClusterSpec:
    if overlay == "service":
        return RayService.model_validate(the(overlay, "RayService")).spec.rayClusterConfig
    return RayCluster.model_validate(the(overlay, "RayCluster")).spec


def templates(overlay: str) -> Iterator[dict[str, Any]]:
    spec = cluster_of(overlay)
    yield spec.headGroupSpec.template
    yield from (group.template for group in spec.workerGroupSpecs)


def containers(overlay: str) -> Iterator[dict[str, Any]]:
    for template in templates(overlay):
        yield from template["spec"]["containers"]


def validate(data: dict[str, Any]) -> None:
    kubernetes_validate.validate(data, KUBERNETES, strict=True)


def test_every_object_is_one_that_its_schema_knows(overlay: str) -> None:
    for each in rendered(overlay):
        if each["kind"] in KINDS:
            KINDS[each["kind"]].model_validate(each)
        else:
            validate(each)
    for template in templates(overlay):
        validate({"apiVersion": "v1", "kind": "Pod"} | template)
    if overlay == "service":
        service = the(overlay, "RayService")["spec"]["serveService"]
        validate({"apiVersion": "v1", "kind": "Service"} | service)


def test_a_misspelt_field_is_found() -> None:
    cluster = the("batch", "RayCluster")
    groups = [{"groupName": "x", "maxReplica": 3, "template": {}}]
    with pytest.raises(ValidationError, match="maxReplica"):
        RayCluster.model_validate(
            cluster | {"spec": cluster["spec"] | {"workerGroupSpecs": groups}}
        )
    pod = {"apiVersion": "v1", "kind": "Pod"} | next(templates("batch"))
    with pytest.raises(kubernetes_validate.ValidationError):
        validate(pod | {"spec": pod["spec"] | {"servicAccountName": "x"}})


def test_the_service_has_the_cluster_and_no_second_one_beside_it() -> None:
    kinds = [each["kind"] for each in rendered("service")]
    assert "RayService" in kinds
    assert "RayCluster" not in kinds
    # Two platforms on one database would take each other's runs for lost.
    strategy = RayService.model_validate(the("service", "RayService")).spec.upgradeStrategy
    assert strategy is not None
    assert strategy.type == "None"


def test_settings_are_those_that_the_platform_knows(
    overlay: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    values = the_settings(overlay)
    for container in containers(overlay):
        names = {each["name"] for each in container["env"]} | values.keys()
        fields = {name for name in names if name.startswith("AIFORGE_")}
        assert fields <= {f"AIFORGE_{name.upper()}" for name in Settings.model_fields}
        assert "AIFORGE_STORAGE_URI" in names
    for name, value in values.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("AIFORGE_STORAGE_URI", "s3://bucket/prefix")
    settings = Settings()
    assert settings.env == "production"
    assert settings.ray_address == "auto"
    mounts = {each["mountPath"]: each["name"] for each in next(containers(overlay))["volumeMounts"]}
    for file in (settings.database_url_file, settings.jwt_secret_file):
        assert file is not None
        assert mounts[str(file.parent)] == "secret"


def the_settings(overlay: str) -> dict[str, str]:
    (found,) = [
        each["data"]
        for each in rendered(overlay)
        if each["kind"] == "ConfigMap" and each["metadata"]["name"] == "aiforge-settings"
    ]
    return dict(found)


def test_what_jobs_are_planned_with_is_what_the_groups_can_grow_to(overlay: str) -> None:
    limits = json.loads(the_settings(overlay)["AIFORGE_CLUSTER_LIMITS"])
    groups = cluster_of(overlay).workerGroupSpecs
    for resource, parameter in (("CPU", "num-cpus"), ("GPU", "num-gpus")):
        most = sum(
            group.maxReplicas * float(group.rayStartParams.get(parameter, "0")) for group in groups
        )
        assert limits[resource] == most


def test_gpu_workers_scale_from_zero_and_ask_for_what_they_tell_ray(overlay: str) -> None:
    spec = cluster_of(overlay)
    assert spec.enableInTreeAutoscaling
    (gpu,) = [group for group in spec.workerGroupSpecs if "num-gpus" in group.rayStartParams]
    assert (gpu.minReplicas, gpu.replicas) == (0, 0)
    assert spec.headGroupSpec.rayStartParams["num-cpus"] == "0"
    for group in spec.workerGroupSpecs:
        (container,) = group.template["spec"]["containers"]
        limits = container["resources"]["limits"]
        assert limits["cpu"] == group.rayStartParams["num-cpus"]
        assert limits.get("nvidia.com/gpu", "0") == group.rayStartParams.get("num-gpus", "0")


def test_pods_are_confined_and_bounded(overlay: str) -> None:
    account = the(overlay, "ServiceAccount")["metadata"]["name"]
    for template in templates(overlay):
        pod = template["spec"]
        assert pod["serviceAccountName"] == account
        context = pod["securityContext"]
        assert context["runAsNonRoot"] is True
        assert context["runAsUser"] > 0
        assert context["seccompProfile"] == {"type": "RuntimeDefault"}
        # The group of the secret's files, which nobody else may read.
        assert context["fsGroup"] == context["runAsGroup"]
        volumes = {volume["name"]: volume for volume in pod["volumes"]}
        assert volumes["secret"]["secret"]["defaultMode"] & 0o007 == 0
        for container in pod["containers"]:
            assert container["securityContext"] == {
                "runAsNonRoot": True,
                "readOnlyRootFilesystem": True,
                "allowPrivilegeEscalation": False,
                "capabilities": {"drop": ["ALL"]},
                "seccompProfile": {"type": "RuntimeDefault"},
            }
            for kind in ("requests", "limits"):
                assert {"cpu", "memory"} <= container["resources"][kind].keys()
            mounted = {each["mountPath"] for each in container["volumeMounts"]}
            # What Ray, torch and the hub write to, with the root read-only.
            assert {"/tmp", "/dev/shm", "/home/aiforge"} <= mounted
            assert {each["name"] for each in container["volumeMounts"]} <= volumes.keys()


def test_probes_ask_routes_that_exist_at_ports_that_are_open(overlay: str) -> None:
    # "/-/healthz" is Serve's, at the port of its HTTP; the others are Ray's agent and dashboard.
    known = {"/api/gcs_healthz": 8265, "/api/local_raylet_healthz": 52365, "/-/healthz": 8000}
    from ray.dashboard.modules.reporter import healthz_agent, reporter_head

    assert '"/api/local_raylet_healthz"' in inspect.getsource(healthz_agent)
    assert '"/api/gcs_healthz"' in inspect.getsource(reporter_head)
    for container in containers(overlay):
        for name in ("startupProbe", "livenessProbe", "readinessProbe"):
            get = container[name]["httpGet"]
            assert known[get["path"]] == get["port"]
    if overlay == "service":
        ready = [each["readinessProbe"]["httpGet"]["path"] for each in containers(overlay)]
        # Requests go to ready pods, so those without a replica must not be.
        assert ready == ["/api/gcs_healthz", "/-/healthz", "/-/healthz"]


def test_serve_is_told_what_can_be_built() -> None:
    from ray.serve.schema import ServeDeploySchema

    service = the("service", "RayService")["spec"]
    told = ServeDeploySchema.model_validate(yaml.safe_load(service["serveConfigV2"]))
    (application,) = told.applications
    module, _, name = application.import_path.partition(":")
    builder = getattr(importlib.import_module(module), name)
    assert len(inspect.signature(builder).parameters) == 1
    Settings(**application.args)
    source = inspect.getsource(sys.modules[module])
    for deployment in application.deployments:
        assert f'name="{deployment.name}"' in source or f"    {deployment.name}," in source
    port = told.http_options.port
    assert service["serveService"]["spec"]["ports"][0]["port"] == port
    for container in list(containers("service"))[:2]:
        assert port in {each["containerPort"] for each in container["ports"]}
    pools = {
        deployment.ray_actor_options.label_selector["pool"]
        for deployment in application.deployments
    }
    groups = cluster_of("service").workerGroupSpecs
    assert pools <= {group.labels["pool"] for group in groups}


def test_the_batch_run_is_a_recipe_that_parses(tmp_path: Path) -> None:
    job = RayJob.model_validate(the("batch", "RayJob")).spec
    assert job.clusterSelector == {"ray.io/cluster": the("batch", "RayCluster")["metadata"]["name"]}
    python, flag, module, path = shlex.split(job.entrypoint)
    assert (python, flag) == ("python", "-m")
    assert importlib.util.find_spec(module) is not None
    (recipes,) = [
        each["data"]
        for each in rendered("batch")
        if each["kind"] == "ConfigMap" and each["metadata"]["name"] == "aiforge-recipe"
    ]
    head = next(containers("batch"))
    (mount,) = [each for each in head["volumeMounts"] if each["name"] == "recipe"]
    file = tmp_path / Path(path).name
    file.write_text(recipes[file.name])
    assert mount["mountPath"] == str(Path(path).parent)
    assert read_recipe(file).source.type == "git"


def test_images_and_versions_are_named_once(overlay: str) -> None:
    base = yaml.safe_load((KUBERAY / "base" / "kustomization.yaml").read_text())
    named = {f"{each['newName']}:{each['newTag']}" for each in base["images"]}
    assert {each["image"] for each in containers(overlay)} == named
    assert cluster_of(overlay).rayVersion == version("ray")
    assert all(tag.split(":")[1].startswith(version("aiforge")) for tag in named)


def test_ports_are_open_to_whom_they_are_meant_for(overlay: str) -> None:
    policy = the(overlay, "NetworkPolicy")["spec"]
    selector = policy["podSelector"]["matchLabels"].items()
    for template in templates(overlay):
        assert selector <= template["metadata"]["labels"].items()
    assert set(policy["policyTypes"]) == {"Ingress", "Egress"}
    outside = [rule for rule in policy["ingress"] if "ports" in rule]
    assert all(rule["from"] for rule in policy["ingress"])
    ports = {port["port"] for rule in outside for port in rule["ports"]}
    assert ports == {8000, 8080, 8265, 9100}
    assert not any(
        block.get("ipBlock", {}).get("cidr") == "0.0.0.0/0"
        and "169.254.169.254/32" not in block["ipBlock"]["except"]
        for rule in policy["egress"]
        for block in rule["to"]
    )
    budget = the(overlay, "PodDisruptionBudget")["spec"]["selector"]["matchLabels"]
    labels = [each["metadata"]["labels"] for each in templates(overlay)]
    assert sum(budget.items() <= each.items() for each in labels) == 1


def test_prometheus_finds_the_metrics_of_ray_and_of_the_platform(overlay: str) -> None:
    monitor = PodMonitor.model_validate(the("monitoring", "PodMonitor")).spec
    scraped = {endpoint.port for endpoint in monitor.podMetricsEndpoints}
    selector = monitor.selector["matchLabels"].items()
    open_to_it = {
        port["port"]
        for rule in the(overlay, "NetworkPolicy")["spec"]["ingress"]
        for source in rule["from"]
        if "monitoring" in str(source)
        for port in rule["ports"]
    }
    found: dict[str, int] = {}
    for template in templates(overlay):
        assert selector <= template["metadata"]["labels"].items()
        for container in template["spec"]["containers"]:
            ports = {port["name"]: port["containerPort"] for port in container["ports"]}
            assert "metrics" in ports
            found |= {name: port for name, port in ports.items() if name in scraped}

    assert found.keys() == scraped
    assert set(found.values()) == open_to_it
    assert the_settings(overlay)["AIFORGE_METRICS_PORT"] == str(found["platform"])
    assert the("monitoring", "PodMonitor")["metadata"]["namespace"] == "aiforge"


def test_the_example_of_the_secret_holds_no_value_and_every_key() -> None:
    secret = yaml.safe_load((KUBERAY / "secret.example.yaml").read_text())
    validate(secret)
    assert set(secret["stringData"].values()) == {""}
    used = set()
    for overlay in OVERLAYS:
        text = json.dumps(rendered(overlay))
        assert "secret.example" not in text
        options = cluster_of(overlay).gcsFaultToleranceOptions
        assert options is not None
        assert options.redisPassword is not None
        references = [options.redisPassword.valueFrom or {}]
        for container in containers(overlay):
            references += [each["valueFrom"] for each in container["env"]]
        for reference in references:
            key = reference["secretKeyRef"]
            assert key["name"] == secret["metadata"]["name"]
            if not key.get("optional"):
                used.add(key["key"])
        for template in templates(overlay):
            (volume,) = [each for each in template["spec"]["volumes"] if each["name"] == "secret"]
            assert volume["secret"]["secretName"] == secret["metadata"]["name"]
            used |= {item["key"] for item in volume["secret"]["items"]}
    assert used == secret["stringData"].keys()
