"""What can be chosen when the node is installed with Helm: the source of schema, defaults and table."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9]([-A-Za-z0-9._]*[A-Za-z0-9])?$|^$")]
"""Name of an object or key of Kubernetes, or nothing."""

ObjectName = Annotated[str, Field(pattern=r"^([a-z]([-a-z0-9]*[a-z0-9])?)?$", max_length=63)]
"""Name that objects of the chart bear: a DNS label that begins with a letter, or nothing."""

ClassName = Annotated[str, Field(pattern=r"^([a-z0-9]([-a-z0-9.]*[a-z0-9])?)?$")]
"""Name of a class of storage, load balancers or Ingresses, or nothing."""

HostName = Annotated[str, Field(pattern=r"^((\*\.)?[a-z0-9]([-a-z0-9.]*[a-z0-9])?)?$")]
"""Name in DNS, without scheme, port or path; or nothing."""

Cidr = Annotated[
    str, Field(pattern=r"^([0-9]{1,3}(\.[0-9]{1,3}){3}|[0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*)/[0-9]{1,3}$")
]
"""Range of addresses: 10.1.0.0/16, 10.1.2.3/32 for a single one, fd00:1::/64."""

Port = Annotated[int, Field(ge=1, le=65535)]
"""TCP port."""

PORT_REACHED = "its TCP port, in the cluster that of its pods, for the NetworkPolicy"
"""What the port of a service means that the node reaches."""

Quantity = (
    Annotated[str, Field(pattern=r"^[0-9]+(\.[0-9]+)?(m|k|[MGTPE]|[KMGTPE]i)?$")]
    | Annotated[int, Field(ge=0)]
)
"""Amount as Kubernetes writes it: 500m, 2, 8Gi."""

Digest = Annotated[str, Field(pattern="^$|^sha256:[0-9a-f]{64}$")]
"""Digest of an image, or nothing."""

AsItIs = dict[str, Any]
"""A piece of Kubernetes' own API that the chart hands on; the API server checks it."""


class Values(BaseModel):
    """What all parts have in common: closed, and named as Helm's charts name things."""

    model_config = ConfigDict(frozen=True, extra="forbid", alias_generator=to_camel, populate_by_name=True)


class Topology(StrEnum):
    """How many kinds of pod there are."""

    SINGLE = "single"
    ROLES = "roles"


class PullPolicy(StrEnum):
    """When the image is fetched."""

    ALWAYS = "Always"
    IF_NOT_PRESENT = "IfNotPresent"
    NEVER = "Never"


class Image(Values):
    """The container image."""

    repository: str = Field(
        "csvd-node",
        min_length=1,
        pattern=r"^([^/@\s]+/)*[^/:@\s]+$",
        description="name of the image, with its registry, without tag and digest",
    )
    tag: str = Field(
        "", description="tag; empty takes the chart's appVersion; pods with a GPU take it with -gpu behind"
    )
    digest: Digest = Field("", description="digest; wins over the tag")
    pull_policy: PullPolicy = Field(PullPolicy.IF_NOT_PRESENT, description="when it is fetched")
    pull_secrets: list[Name] = Field([], description="names of Secrets for the registry")


class Reference(Values):
    """A key of a Secret that exists already; the chart never makes one."""

    existing_secret: Name = Field("", description="name of the Secret")
    key: Name = Field("url", description="its key")


class AccessMode(StrEnum):
    """Who may mount a volume."""

    ONCE = "ReadWriteOnce"
    ONCE_POD = "ReadWriteOncePod"
    MANY = "ReadWriteMany"


class Volume(Values):
    """A volume that outlives pods."""

    existing_claim: Name = Field(
        "", description="name of a PersistentVolumeClaim to use instead of a new one"
    )
    storage_class: ClassName | Literal["-"] = Field(
        "", description="storage class; empty takes the cluster's default, - a volume that has none"
    )
    access_mode: AccessMode = Field(
        AccessMode.ONCE, description="ReadWriteMany when pods on several machines share it"
    )
    size: Quantity = Field("100Gi", description="how large it is")
    keep: bool = Field(True, description="keep it when the release is uninstalled")


class S3(Values):
    """An S3-compatible bucket for Studies and results instead of a shared volume."""

    enabled: bool = Field(False, description="keep files in a bucket")
    bucket: str = Field("", description="name of the bucket")
    prefix: str = Field("", description="what keys begin with")
    endpoint: str = Field(
        "", description="URL of the service, http:// only within the cluster; empty is the provider's own"
    )
    region: str = Field("us-east-1", min_length=1, description="region")
    existing_secret: Name = Field(
        "",
        description="Secret with the keys access-key-id and secret-access-key; empty uses the service account",
    )
    cidrs: list[Cidr] = Field([], description="addresses of the service, for the NetworkPolicy")
    namespace: Name = Field("", description="namespace of a service in the cluster, for the NetworkPolicy")
    port: Port = Field(443, description=PORT_REACHED)


class Storage(Values):
    """Where Studies and results lie."""

    volume: Volume = Field(Volume(), description="the volume that all pods share; not used with a bucket")
    s3: S3 = Field(S3(), description="a bucket instead of the volume")
    work_size: Quantity = Field(
        "20Gi", description="limit of each pod's scratch space where a bucket holds the files"
    )


class Database(Values):
    """PostgreSQL for index and queues; without one the node keeps SQLite files in its volume."""

    url: Reference = Field(
        Reference(),
        description="Secret with the SQLAlchemy URL: postgresql+psycopg://user:password@host/name",
    )
    cidrs: list[Cidr] = Field([], description="addresses of the database, for the NetworkPolicy")
    namespace: Name = Field("", description="namespace of a database in the cluster, for the NetworkPolicy")
    port: Port = Field(5432, description=PORT_REACHED)


class ClientCertificate(StrEnum):
    """Whether senders must show a certificate."""

    REQUIRED = "required"
    OPTIONAL = "optional"
    NONE = "none"


class ReceiverTls(Values):
    """TLS for Studies that come in."""

    existing_secret: Name = Field(
        "", description="Secret of type kubernetes.io/tls with tls.crt, tls.key and ca.crt; empty: no TLS"
    )
    client_certificate: ClientCertificate = Field(
        ClientCertificate.REQUIRED, description="whether senders must show a certificate of ca.crt"
    )


class DestinationTls(Values):
    """TLS for results that go out."""

    existing_secret: Name = Field(
        "",
        min_length=1,
        description="Secret with ca.crt and, if the destination asks for it, tls.crt and tls.key",
    )
    client_certificate: bool = Field(False, description="show tls.crt to the destination")
    host_name: str = Field("", description="name in its certificate, where that is not its host")


class Tls(Values):
    """TLS for DICOM."""

    receiver: ReceiverTls = Field(ReceiverTls(), description="the receiver's certificate")
    destinations: dict[str, DestinationTls] = Field(
        {}, description="by name of the destination in config.destinations"
    )


class BuildBy(StrEnum):
    """What compiles the models for a GPU before the workers start."""

    JOB = "Job"
    INIT_CONTAINER = "InitContainer"
    NONE = "None"


class Engines(Values):
    """Compiled models for GPUs."""

    build_by: BuildBy = Field(
        BuildBy.INIT_CONTAINER,
        description="InitContainer: each worker, for the GPU it got; Job: one for all (topology roles), where all GPUs "
        "are alike and one is free; None: the worker itself when it starts",
    )
    cache: Volume = Field(
        Volume(size="5Gi", keep=False),
        description="the volume of compiled models; empty claims are made per release",
    )


class Gpu(Values):
    """The GPU of a worker; one process owns one."""

    enabled: bool = Field(False, description="ask for a GPU, and take the gpu image")
    digest: Digest = Field("", description="digest of the gpu image; wins over the tag")
    resource: str = Field("nvidia.com/gpu", min_length=1, description="extended resource that is asked for")
    runtime_class: Name = Field("", description="RuntimeClass of pods with a GPU: nvidia on many clusters")


class Resources(Values):
    """What a container gets."""

    requests: dict[str, Quantity] = Field({}, description="what it gets at least")
    limits: dict[str, Quantity] = Field({}, description="what it gets at most")


class SpreadOver(Values):
    """How pods of a role are spread."""

    topology_key: str = Field(
        "kubernetes.io/hostname", min_length=1, description="label of nodes to spread over"
    )
    max_skew: int = Field(1, ge=1, description="largest difference between two of them")
    when_unsatisfiable: str = Field(
        "ScheduleAnyway",
        pattern="^(ScheduleAnyway|DoNotSchedule)$",
        description="whether a pod waits instead",
    )


class Toleration(Values):
    """A taint of nodes that pods bear."""

    key: str = Field("", description="key of the taint")
    operator: str = Field("Exists", pattern="^(Exists|Equal)$", description="Exists or Equal")
    value: str = Field("", description="value of the taint, with Equal")
    effect: str = Field(
        "",
        pattern="^(NoSchedule|PreferNoSchedule|NoExecute)?$",
        description="effect of the taint; empty: all",
    )


class DisruptionBudget(Values):
    """How many pods of a role an eviction leaves."""

    enabled: bool = Field(False, description="make a PodDisruptionBudget")
    max_unavailable: Annotated[int, Field(ge=0)] | Annotated[str, Field(pattern=r"^(100|[0-9]{1,2})%$")] = (
        Field(1, description="pods that may be away at the same time, number or percentage")
    )


class Pods(Values):
    """The pods of one role."""

    replicas: int = Field(
        1, ge=0, description="how many pods; without meaning where they are scaled automatically"
    )
    resources: Resources = Field(Resources(), description="what each gets")
    node_selector: dict[str, str] = Field({}, description="labels of nodes they may run on")
    tolerations: list[Toleration] = Field([], description="taints they bear")
    affinity: AsItIs = Field({}, description="Kubernetes' affinity, as it is")
    spread: list[SpreadOver] = Field([SpreadOver()], description="how they are spread")
    priority_class: Name = Field("", description="PriorityClass")
    disruption_budget: DisruptionBudget = Field(DisruptionBudget(), description="what evictions must leave")
    annotations: dict[str, str] = Field({}, description="annotations of the pods")
    labels: dict[str, str] = Field({}, description="further labels of the pods")
    grace_s: int = Field(60, ge=0, description="seconds to finish when a pod is stopped")


def pods(cpu: str, memory: str, **further: Any) -> Any:
    """Return a field of pods with these requests; memory is the limit, too."""
    resources = Resources(requests={"cpu": cpu, "memory": memory}, limits={"memory": memory})
    description = further.pop("description")
    return Field(Pods(resources=resources, **further), description=description)


class ScaledBy(StrEnum):
    """What changes the number of workers."""

    NONE = "none"
    HPA = "hpa"
    KEDA = "keda"


class Autoscaling(Values):
    """Workers by the length of the queue."""

    by: ScaledBy = Field(
        ScaledBy.NONE,
        description="hpa needs an adapter that serves csvd_queue_depth as an external metric; keda asks Prometheus",
    )
    min_replicas: int = Field(1, ge=0, description="fewest workers; 0 with keda only")
    max_replicas: int = Field(4, ge=1, description="most workers")
    studies_per_worker: int = Field(5, ge=1, description="Studies that wait, for each worker")
    prometheus: str = Field("", description="URL of Prometheus, for keda")
    scale_down_after_s: int = Field(
        600, ge=0, description="seconds of a short queue before workers are taken away"
    )


class ServiceType(StrEnum):
    """How peers outside of the cluster reach a Service."""

    CLUSTER_IP = "ClusterIP"
    NODE_PORT = "NodePort"
    LOAD_BALANCER = "LoadBalancer"


class DicomService(Values):
    """Where scanners and PACS send to."""

    type: ServiceType = Field(
        ServiceType.LOAD_BALANCER, description="how peers outside of the cluster reach it"
    )
    port: Port = Field(11112, description="TCP port of the Service; 104 is usual, 2762 with TLS")
    node_port: int | None = Field(
        None, ge=30000, le=32767, description="port on the nodes, with NodePort or LoadBalancer"
    )
    load_balancer_class: str = Field("", description="class of the load balancer")
    load_balancer_source_ranges: list[Cidr] = Field([], description="addresses the load balancer lets in")
    annotations: dict[str, str] = Field({}, description="annotations, such as a fixed address")


class Ingress(Values):
    """The pages, from outside."""

    enabled: bool = Field(False, description="make an Ingress")
    class_name: ClassName = Field("", description="IngressClass")
    host: HostName = Field("", description="host name, without scheme and port")
    tls_secret: Name = Field("", description="Secret of type kubernetes.io/tls for the host")
    annotations: dict[str, str] = Field({}, description="annotations, such as those that ask for a login")


class NetworkPolicy(Values):
    """Only DICOM peers in, only PACS, database, bucket and collector of traces out."""

    enabled: bool = Field(True, description="make NetworkPolicies")
    dicom_peers: list[Cidr] = Field([], description="addresses (CIDR) that may send; empty: nobody")
    destinations: list[Cidr] = Field(
        [], description="addresses (CIDR) that results go to, on their configured ports"
    )
    name_service: list[Cidr] = Field(
        [],
        description="addresses (CIDR) of a name service outside of kube-system, such as a cache on each machine "
        "(169.254.20.10/32)",
    )
    traces: list[Cidr] = Field(
        [],
        description="addresses (CIDR) of a collector of traces outside of the cluster, on the port of "
        "config.traces.endpoint",
    )
    traces_namespace: Name = Field(
        "",
        description="namespace of a collector of traces in the cluster; its pods listen on the port of "
        "config.traces.endpoint",
    )
    ingress_namespace: Name = Field(
        "", description="namespace whose pods may open the pages: the ingress controller's"
    )
    monitoring_namespace: Name = Field("", description="namespace whose pods may read metrics: Prometheus'")


class ServiceMonitor(Values):
    """Prometheus Operator reads the metrics."""

    enabled: bool = Field(False, description="make a ServiceMonitor")
    interval: str = Field("30s", pattern="^[0-9]+(ms|s|m)$", description="how often")
    labels: dict[str, str] = Field({}, description="labels that the operator looks for")


class Alerts(Values):
    """When Prometheus raises an alert."""

    enabled: bool = Field(False, description="make a PrometheusRule")
    labels: dict[str, str] = Field({}, description="labels that the operator looks for")
    queue_age_s: int = Field(1800, ge=1, description="seconds that a Study may wait for a worker")
    delivery_lag_s: int = Field(3600, ge=1, description="seconds that a result may wait for its destination")
    disk_free_percent: int = Field(10, ge=1, le=99, description="per cent of the disk that must be free")
    certificate_days: int = Field(30, ge=1, description="days that a certificate must still be good")


class Dashboard(Values):
    """Grafana's dashboard."""

    enabled: bool = Field(False, description="make a ConfigMap that Grafana's sidecar picks up")
    labels: dict[str, str] = Field(
        {"grafana_dashboard": "1"}, description="labels that the sidecar looks for"
    )


class ServiceAccount(Values):
    """Who the pods are; they never talk to Kubernetes."""

    name: Name = Field("", description="name of an existing one; empty makes one")
    annotations: dict[str, str] = Field({}, description="annotations, such as the role that may use a bucket")


class RoundTrip(Values):
    """`helm test`: C-ECHO and C-STORE with the node's own image."""

    enabled: bool = Field(True, description="let the test's AE send, and make the test")
    calling_ae: str = Field(
        "HELMTEST",
        min_length=1,
        max_length=16,
        description="its AE title; its Instance is kept here, never sent on",
    )
    host_name: HostName = Field(
        "",
        description="name in the receiver's certificate, by which the test knows it with TLS; empty: its Service's",
    )


class ExtraVolume(Values):
    """A volume of your own, read-only, such as one with other models or rules."""

    name: ObjectName = Field(min_length=1, description="its name")
    mount_path: str = Field(min_length=1, pattern="^/", description="where it is mounted")
    existing_claim: Name = Field("", description="PersistentVolumeClaim to mount")
    config_map: Name = Field("", description="ConfigMap to mount")
    secret: Name = Field("", description="Secret to mount")


class ChartValues(Values):
    """All values."""

    name_override: ObjectName = Field("", description="replaces the chart's name in names")
    fullname_override: ObjectName = Field("", description="replaces release and chart name in names")
    topology: Topology = Field(
        Topology.SINGLE,
        description="single: one pod does everything; roles: pods for receive, work, send and web, on PostgreSQL",
    )
    image: Image = Field(Image(), description="the container image")
    config: AsItIs = Field(
        {}, description="the node's settings (docs/configuration.md), but those that the chart sets itself"
    )
    database: Database = Field(Database(), description="PostgreSQL")
    storage: Storage = Field(Storage(), description="Studies and results")
    tls: Tls = Field(Tls(), description="TLS for DICOM")
    engines: Engines = Field(Engines(), description="compiled models; with gpu only")
    gpu: Gpu = Field(Gpu(), description="the workers' GPU")
    single: Pods = pods("2", "6Gi", description="the pod that does everything (topology single)", grace_s=120)
    receive: Pods = pods("500m", "2Gi", replicas=2, description="pods that take Studies (topology roles)")
    work: Pods = pods("2", "6Gi", replicas=2, grace_s=120, description="pods that evaluate (topology roles)")
    send: Pods = pods("200m", "512Mi", description="pods that deliver results (topology roles)")
    web: Pods = pods("200m", "512Mi", description="pods that show pages (topology roles)")
    autoscaling: Autoscaling = Field(Autoscaling(), description="workers by the length of the queue")
    ipv6: bool = Field(
        False,
        description="listen on IPv6 as well, and ask for addresses of both kinds: for clusters with IPv6, alone or beside IPv4",
    )
    dicom_service: DicomService = Field(DicomService(), description="where peers send to")
    ingress: Ingress = Field(Ingress(), description="the pages, from outside")
    network_policy: NetworkPolicy = Field(NetworkPolicy(), description="who may talk to whom")
    service_monitor: ServiceMonitor = Field(
        ServiceMonitor(), description="metrics for the Prometheus Operator"
    )
    alerts: Alerts = Field(Alerts(), description="alerts for the Prometheus Operator")
    dashboard: Dashboard = Field(Dashboard(), description="the dashboard for Grafana")
    service_account: ServiceAccount = Field(ServiceAccount(), description="who the pods are")
    round_trip: RoundTrip = Field(RoundTrip(), description="what `helm test` does")
    extra_volumes: list[ExtraVolume] = Field([], description="volumes of your own")
    env: dict[str, str] = Field({}, description="further environment variables; never for secrets")
    env_secrets: list[Name] = Field(
        [],
        description="Secrets whose keys are further environment variables, such as CSVD_WEB__PASSWORD",
    )
