"""The part of KubeRay's custom resources that clusters/kuberay uses, strictly.

Fields, types and allowed values are those of the ``ray.io/v1`` API reference of KubeRay 1.6
(docs.ray.io, "KubeRay CRD API reference"); what Kubernetes itself defines is left as a mapping
here and held against Kubernetes' own schemas by the tests.
"""

# The names are those of the wire.
# ruff: noqa: N815

from __future__ import annotations

from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

Core = dict[str, Any]
"""An object of Kubernetes' core API."""


class Strict(BaseModel):
    """Refuses what the API server would prune or refuse."""

    model_config = ConfigDict(extra="forbid", strict=True)


class AuthOptions(Strict):
    mode: Literal["disabled", "token"] | None = None
    secretName: str | None = None
    enableK8sTokenAuth: bool | None = None


class AutoscalerOptions(Strict):
    resources: Core | None = None
    image: str | None = None
    imagePullPolicy: str | None = None
    securityContext: Core | None = None
    idleTimeoutSeconds: int | None = None
    upscalingMode: Literal["Default", "Aggressive", "Conservative"] | None = None
    version: Literal["v1", "v2"] | None = None
    env: list[Core] | None = None
    envFrom: list[Core] | None = None
    volumeMounts: list[Core] | None = None


class RedisCredential(Strict):
    valueFrom: Core | None = None
    value: str | None = None


class GcsFaultToleranceOptions(Strict):
    redisUsername: RedisCredential | None = None
    redisPassword: RedisCredential | None = None
    externalStorageNamespace: str | None = None
    redisAddress: str


class Group(Strict):
    template: Core
    rayStartParams: dict[str, str] = Field(default_factory=dict)
    labels: dict[str, str] = Field(default_factory=dict)
    resources: dict[str, str] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _as_the_operator_asks(self) -> Self:
        """The schema lets pass what the operator then refuses to carry out."""
        if "labels" in self.rayStartParams:
            raise ValueError("labels stand beside rayStartParams")
        amounts = {"num-cpus", "num-gpus", "memory", "resources"}
        if self.resources and amounts & self.rayStartParams.keys():
            raise ValueError("resources stand in one place")
        return self


class HeadGroupSpec(Group):
    headService: Core | None = None
    enableIngress: bool | None = None
    serviceType: Literal["ClusterIP", "NodePort", "LoadBalancer"] | None = None


class WorkerGroupSpec(Group):
    groupName: str
    replicas: int = 0
    minReplicas: int = 0
    maxReplicas: int = 2147483647
    idleTimeoutSeconds: int | None = None
    numOfHosts: int = 1


class RayClusterSpec(Strict):
    rayVersion: str
    authOptions: AuthOptions | None = None
    suspend: bool | None = None
    autoscalerOptions: AutoscalerOptions | None = None
    headServiceAnnotations: dict[str, str] | None = None
    enableInTreeAutoscaling: bool | None = None
    gcsFaultToleranceOptions: GcsFaultToleranceOptions | None = None
    headGroupSpec: HeadGroupSpec
    workerGroupSpecs: list[WorkerGroupSpec] = Field(default_factory=list)


class UpgradeStrategy(Strict):
    type: Literal["NewCluster", "NewClusterWithIncrementalUpgrade", "None"]


class RayServiceSpec(Strict):
    serveService: Core | None = None
    upgradeStrategy: UpgradeStrategy | None = None
    serveConfigV2: str
    rayClusterConfig: RayClusterSpec
    excludeHeadPodFromServeSvc: bool | None = None


class RayJobSpec(Strict):
    activeDeadlineSeconds: int | None = None
    backoffLimit: int | None = None
    rayClusterSpec: RayClusterSpec | None = None
    clusterSelector: dict[str, str] | None = None
    entrypoint: str
    runtimeEnvYAML: str | None = None
    jobId: str | None = None
    submissionMode: Literal["K8sJobMode", "HTTPMode", "InteractiveMode", "SidecarMode"] | None = (
        None
    )
    ttlSecondsAfterFinished: int | None = None
    shutdownAfterJobFinishes: bool | None = None
    suspend: bool | None = None


class PodMetricsEndpoint(Strict):
    """Of the Prometheus Operator's ``monitoring.coreos.com/v1`` API."""

    port: str
    interval: str | None = None
    path: str | None = None


class PodMonitorSpec(Strict):
    selector: dict[str, dict[str, str]]
    podMetricsEndpoints: list[PodMetricsEndpoint]


class _Resource(Strict):
    apiVersion: Literal["ray.io/v1"]
    metadata: Core


class RayCluster(_Resource):
    kind: Literal["RayCluster"]
    spec: RayClusterSpec


class RayService(_Resource):
    kind: Literal["RayService"]
    spec: RayServiceSpec


class RayJob(_Resource):
    kind: Literal["RayJob"]
    spec: RayJobSpec


class PodMonitor(Strict):
    apiVersion: Literal["monitoring.coreos.com/v1"]
    kind: Literal["PodMonitor"]
    metadata: Core
    spec: PodMonitorSpec


KINDS: dict[str, type[RayCluster | RayService | RayJob]] = {
    "RayCluster": RayCluster,
    "RayService": RayService,
    "RayJob": RayJob,
}
