"""Who may talk to whom: only DICOM peers in, only PACS, database, bucket and collector of traces out."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
import yaml
from prometheus_client import CollectorRegistry

from node.health import Health
from node.web.application import make_application
from node.web.server import WebServer
from tests.support.chart import SCENARIOS, Manifest, named, of_kind, pods, rendered
from tests.support.peers import LOOPBACK

pytestmark = pytest.mark.chart

WORKERS = "workers-postgresql-s3"


def addresses(rules: list[dict[str, Any]], direction: str) -> set[tuple[str, object]]:
    """List the blocks of addresses of rules, each with its ports."""
    return {
        (peer["ipBlock"]["cidr"], port["port"])
        for rule in rules
        for peer in rule[direction]
        if "ipBlock" in peer
        for port in rule["ports"]
    }


def policy(manifests: tuple[Manifest, ...], suffix: str = "") -> dict[str, Any]:
    spec: dict[str, Any] = named(manifests, "NetworkPolicy", f"r-csvd-node{suffix}")["spec"]
    return spec


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_all_pods_are_closed_by_default(scenario: str) -> None:
    manifests = rendered(scenario)
    base = policy(manifests)
    assert base["policyTypes"] == ["Ingress", "Egress"]
    selected = base["podSelector"]["matchLabels"].items()
    for part in manifests:
        template = part.get("spec", {}).get("template")
        if template:
            assert selected <= template["metadata"]["labels"].items()


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_no_rule_is_without_peers_and_ports(scenario: str) -> None:
    """A rule without either would open everything."""
    for part in of_kind(rendered(scenario), "NetworkPolicy"):
        for direction, peers in (("ingress", "from"), ("egress", "to")):
            for rule in part["spec"].get(direction) or []:
                assert rule[peers], part["metadata"]["name"]
                assert rule["ports"], part["metadata"]["name"]
                assert {"ipBlock": {"cidr": "0.0.0.0/0"}} not in rule[peers]


def test_only_dicom_peers_come_in() -> None:
    spec = policy(rendered(WORKERS), "-dicom")
    assert addresses(spec["ingress"], "from") == {("10.20.0.0/16", "dicom")}
    assert spec["podSelector"]["matchLabels"]["app.kubernetes.io/component"] == "receive"


def test_without_peers_and_test_nobody_comes_in() -> None:
    spec = policy(rendered("air-gapped", "--set-json", "networkPolicy.dicomPeers=[]"), "-dicom")
    assert spec["ingress"] == []


def test_only_pacs_database_and_bucket_are_reached() -> None:
    manifests = rendered(WORKERS)
    assert addresses(policy(manifests)["egress"], "to") == {("10.30.0.10/32", 5432), ("10.30.0.20/32", 443)}
    out = policy(manifests, "-destinations")
    assert addresses(out["egress"], "to") == {
        (cidr, port) for cidr in ("10.20.0.5/32", "10.20.0.6/32") for port in (104, 11112)
    }
    assert out["podSelector"]["matchLabels"]["app.kubernetes.io/component"] == "send"


def out_to_namespaces(manifests: tuple[Manifest, ...]) -> set[tuple[str, int]]:
    return {
        (peer["namespaceSelector"]["matchLabels"]["kubernetes.io/metadata.name"], port["port"])
        for rule in policy(manifests)["egress"]
        for peer in rule["to"]
        if "namespaceSelector" in peer
        for port in rule["ports"]
    }


def test_what_runs_in_the_cluster_is_reached_in_its_namespace() -> None:
    """By addresses it is not: pods' change, and some networks do not hold ranges against pods at all."""
    assert out_to_namespaces(rendered("air-gapped")) == {
        ("kube-system", 53),
        ("postgresql", 5432),
        ("observability", 4318),
    }
    bucket = ("storage.s3.namespace=minio", "storage.s3.port=9000", "storage.s3.cidrs=null")
    given = [argument for each in bucket for argument in ("--set", each)]
    assert out_to_namespaces(rendered(WORKERS, *given)) == {("kube-system", 53), ("minio", 9000)}


def test_a_name_service_on_each_machine_is_reached() -> None:
    manifests = rendered(WORKERS, "--set-json", 'networkPolicy.nameService=["169.254.20.10/32"]')
    assert ("169.254.20.10/32", 53) in addresses(policy(manifests)["egress"], "to")


@pytest.mark.parametrize(
    ("endpoint", "port"),
    [
        ("https://traces.hospital.example/v1/traces", 443),
        ("http://10.30.0.40/v1/traces", 80),
        ("https://[fd00::40]:4318/v1/traces", 4318),
    ],
)
def test_traces_reach_a_collector_outside_of_the_cluster(endpoint: str, port: int) -> None:
    given = (
        "--set",
        f"config.traces.endpoint={endpoint}",
        "--set-json",
        'networkPolicy.traces=["10.30.0.40/32"]',
    )
    assert ("10.30.0.40/32", port) in addresses(policy(rendered(WORKERS, *given))["egress"], "to")


def test_results_reach_a_dicomweb_server_on_the_port_of_its_url() -> None:
    stow = '{"stow": {"url": "https://archive.hospital.example:8443/dicom-web"}}'
    manifests = rendered("single-node-cpu", "--set-json", f"config.destinations.archive={stow}")
    out = policy(manifests, "-destinations")
    assert addresses(out["egress"], "to") == {("10.20.0.5/32", port) for port in (104, 8443)}


def test_pages_and_metrics_are_open_to_their_readers_only() -> None:
    manifests = rendered(WORKERS)
    for suffix, namespace in (("-web", "traefik"), ("", "monitoring")):
        (rule,) = policy(manifests, suffix)["ingress"]
        (peer,) = rule["from"]
        assert peer["namespaceSelector"]["matchLabels"] == {"kubernetes.io/metadata.name": namespace}
    assert policy(rendered("single-node-cpu"))["ingress"] == []


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_prometheus_may_read_what_it_is_told_to(scenario: str) -> None:
    manifests = rendered(scenario)
    assert bool(policy(manifests)["ingress"]) == bool(of_kind(manifests, "ServiceMonitor"))


def test_the_round_trip_reaches_the_receivers() -> None:
    manifests = rendered("tls-only")
    (pod,) = (part for part in of_kind(manifests, "Pod"))
    (out,) = policy(manifests, "-round-trip")["egress"]
    assert (
        policy(manifests, "-round-trip")["podSelector"]["matchLabels"].items()
        <= pod["metadata"]["labels"].items()
    )
    admitted = [peer for rule in policy(manifests, "-dicom")["ingress"] for peer in rule["from"]]
    assert any(
        peer.get("podSelector", {}).get("matchLabels", {}).get("app.kubernetes.io/component") == "round-trip"
        for peer in admitted
    )
    assert out["ports"] == [{"port": "dicom", "protocol": "TCP"}]
    assert [name for name, _ in pods(manifests) if name.startswith("Pod/")] == ["Pod/r-csvd-node-round-trip"]


def test_all_addresses_are_listened_on_also_those_of_ipv6_where_the_cluster_has_it() -> None:
    def listens(*given: str) -> tuple[set[str], set[str | None]]:
        manifests = rendered(WORKERS, *given)
        config = named(manifests, "ConfigMap", "r-csvd-node")["data"]["node.yaml"]
        settings = yaml.safe_load(config)
        services = of_kind(manifests, "Service")
        hosts = {settings[part]["host"] for part in ("receiver", "web")}
        return hosts, {service["spec"].get("ipFamilyPolicy") for service in services}

    assert listens() == ({"0.0.0.0"}, {None})  # noqa: S104 - in a pod
    assert listens("--set", "ipv6=true") == ({"::"}, {"PreferDualStack"})


def test_node_on_all_addresses_of_ipv6_is_reached_over_both() -> None:
    application = make_application(Health(), CollectorRegistry())
    with WebServer(application, "::", 0) as server:
        for host in (LOOPBACK, "[::1]"):
            assert httpx.get(f"http://{host}:{server.port}/health/live", timeout=30).status_code == 200
