"""The files in deploy/ fit the gateway, and their figures fit each other."""

import configparser
import ipaddress
import json
import os
import plistlib
import re
import shutil
import subprocess
import tomllib
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml
from jsonschema import Draft202012Validator

from configfile.secret_files import SecretFiles
from gateway.access.body_memory import COPIES, ELEMENT
from gateway.commands.schema import schema
from gateway.config.limits import Limits
from gateway.config.state_storage import StateStorage
from gateway.config_files.loading import Config, load
from gateway.endpoints.health import ALIVE, READY
from gateway.kept_objects.inventory import MAX_BYTES
from gateway.named_imports import import_named
from gateway.relay.spool import LARGEST
from gateway.serving.lifecycle import CUT_AFTER, KILL_AFTER
from tests.pages import kubernetes
from tests.support.features import needs_feature, rows_of
from tests.support.harness import ROOT
from tests.support.helm import CHART, Templates, helm

DEPLOY = ROOT / "deploy"
UNIT = DEPLOY / "trigate.service"
IDLE = 65 * 2**20  # bytes, measured
STREAM = 64 * 2**10
KEPT_LIVE = 4 * 2**20  # of the live view

KUBERNETES = {one["kind"]: one for one in yaml.safe_load_all((DEPLOY / "kubernetes.yaml").read_text())}
COMPOSE = yaml.safe_load((DEPLOY / "compose.yaml").read_text())


class Repeating(dict[str, Any]):
    """A mapping in which the keys of a unit may be repeated."""

    def __setitem__(self, key: str, value: Any) -> None:
        if isinstance(value, list) and key in self:
            self[key].extend(value)
        else:
            super().__setitem__(key, value)


def unit() -> dict[str, list[str]]:
    parser = configparser.RawConfigParser(dict_type=Repeating, strict=False, delimiters=("=",))
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read(UNIT)
    return {key: value.split("\n") for key, value in parser["Service"].items()}


def seconds(text: str) -> float:
    return float(text.removesuffix("s"))


def megabytes(text: str) -> int:
    """Return a size in bytes, as Kubernetes, Compose or systemd write it."""
    number, unit = re.fullmatch(r"(\d+)(Mi|m|G)", text).groups()
    return int(number) * (2**30 if unit == "G" else 2**20)


def default_memory() -> int:
    """Return the memory in bytes that one process needs if every default limit is reached."""
    limits = Limits()
    body = COPIES * limits.request_body + ELEMENT * limits.elements  # one client may exceed its share, which is half
    caches = map(import_named, rows_of("answer_cache", "gateway.features.answer_cache.settings:AnswerCacheSettings"))
    kept = sum(cache().max_bytes for cache in caches) + StateStorage().max_bytes + MAX_BYTES + KEPT_LIVE
    return IDLE + limits.in_flight * STREAM + limits.bodies + max(0, body - limits.bodies // 2) + kept


MEMORY_LIMITS = {
    "kubernetes": lambda: (CONTAINER["resources"]["limits"]["memory"], 1),
    "compose": lambda: (COMPOSE["services"]["trigate"]["mem_limit"], 1),
    "systemd": lambda: (unit()["MemoryMax"][0], int(re.search(r"--workers (\d+)", UNIT.read_text())[1])),
}


@pytest.mark.parametrize("file", MEMORY_LIMITS)
def test_the_memory_limit_is_above_the_sum_of_the_default_limits(file):
    text, workers = MEMORY_LIMITS[file]()
    assert megabytes(text) > 1.25 * workers * default_memory()


def test_temporary_files_are_on_a_disk_and_fit():
    """Kubernetes evicts a pod that exceeds its volume; a spool in memory counts against the memory limit."""
    (tmp,) = (one["emptyDir"] for one in POD["volumes"] if one["name"] == "tmp")
    assert megabytes(tmp["sizeLimit"]) > LARGEST
    assert "medium" not in tmp, "memory"
    gateway = COMPOSE["services"]["trigate"]
    (name,) = (place.split(":")[0] for place in gateway["volumes"] if place.endswith(":/tmp"))
    assert name in COMPOSE["volumes"]
    assert "tmpfs" not in gateway
    assert "TMPDIR=/var/tmp" in unit()["Environment"]


def test_there_are_descriptors_for_all_connections():
    """The server's own default follows the limit; a request needs one for its client and one for its provider."""
    limits = Limits()
    for text in (unit()["LimitNOFILE"][0], COMPOSE["services"]["trigate"]["ulimits"]["nofile"]):
        assert int(text) > max(4096, 4 * limits.in_flight) + 3 * limits.in_flight


def whole_drain(config: Config | None = None) -> float:
    """Return the longest time from SIGTERM to the end of the last worker."""
    config = config or load(ROOT / "config_mock_llm.yaml", None)
    return config.drain_delay + config.drain + CUT_AFTER + KILL_AFTER


# Kubernetes

POD = KUBERNETES["Deployment"]["spec"]["template"]["spec"]
CONTAINER = POD["containers"][0]


@pytest.fixture
def config_path(tmp_path) -> Path:
    path = tmp_path / "trigate.yaml"
    path.write_text(KUBERNETES["ConfigMap"]["data"]["trigate.yaml"])
    return path


@needs_feature("admin")
def test_the_mounted_configuration_is_valid_with_the_secret(config_path):
    (place,) = (one["mountPath"] for one in CONTAINER["volumeMounts"] if one["name"] == "secrets")
    given = KUBERNETES["Secret"]["stringData"]
    secrets = {f"{place}/{name}": text.replace("replace-me", "f" * 64) for name, text in given.items()}
    files = SecretFiles(secrets)
    assert not load(config_path, {}, files=files).warnings
    assert files.texts == secrets
    Draft202012Validator(schema()).validate(yaml.safe_load(config_path.read_text()))
    assert set(re.findall(r"file: ([^}]+)}", config_path.read_text())) == set(secrets)


def test_only_the_images_user_can_read_mounted_secrets():
    (volume,) = (one["secret"] for one in POD["volumes"] if "secret" in one)
    assert volume == {"secretName": KUBERNETES["Secret"]["metadata"]["name"], "defaultMode": 0o440}
    assert POD["securityContext"]["fsGroup"] == POD["securityContext"]["runAsGroup"]


def test_the_manifests_match_the_chart():
    """``python -m tests.pages.kubernetes`` writes them."""
    assert by_kind(Templates({"autoscaling": {"enabled": True}}, "trigate").manifests()) == KUBERNETES


def test_the_network_policy_allows_only_required_traffic(config_path):
    policy = KUBERNETES["NetworkPolicy"]["spec"]
    assert policy["podSelector"] == KUBERNETES["Deployment"]["spec"]["selector"]
    requests, probes = policy["ingress"]
    names = [port["name"] for port in CONTAINER["ports"]]
    assert [port["port"] for rule in (requests, probes) for port in rule["ports"]] == names
    assert "from" in requests
    stores = {urlsplit(KUBERNETES["Secret"]["stringData"][name]).port for name in ("STATE_URL", "COUNTERS_URL")}
    assert {port["port"] for rule in policy["egress"] for port in rule["ports"]} == {53, 443, 4318} | stores
    blocks = [to.get("ipBlock", {}) for rule in policy["egress"] for to in rule.get("to", ())]
    blocked = [network for block in blocks for network in block.get("except", ())]
    metadata = ipaddress.ip_address("169.254.169.254")
    assert any(metadata in ipaddress.ip_network(network) for network in blocked)


def test_the_configuration_is_mounted_at_the_path_of_the_image(config_path):
    where = {one["name"]: one for one in CONTAINER["volumeMounts"]}
    assert re.search(rf"^WORKDIR {where['config']['mountPath']}$", (ROOT / "Dockerfile").read_text(), re.M)
    assert {"configMap": KUBERNETES["ConfigMap"]["metadata"]} == {
        key: {**KUBERNETES["ConfigMap"]["metadata"], "name": value["name"]}
        for one in POD["volumes"] for key, value in one.items() if key == "configMap"
    }  # fmt: skip
    assert CONTAINER["args"] == ["serve", f"{where['config']['mountPath']}/trigate.yaml"]


@needs_feature("admin")
def test_a_pod_has_the_time_to_drain(config_path):
    assert POD["terminationGracePeriodSeconds"] > whole_drain(load(config_path, None))


@needs_feature("admin")
def test_a_stopping_pod_leaves_the_service_before_it_stops_listening(config_path):
    probe = CONTAINER["readinessProbe"]
    noticed = probe["failureThreshold"] * probe["periodSeconds"] + probe["timeoutSeconds"]
    assert load(config_path, None).drain_delay > noticed


@needs_feature("admin")
def test_probes_and_ports_exist(config_path):
    config = load(config_path, None)
    routes = {*ALIVE, *READY}
    probes = [CONTAINER[f"{kind}Probe"]["httpGet"] for kind in ("startup", "readiness", "liveness")]
    assert {probe["path"] for probe in probes} <= routes
    assert CONTAINER["readinessProbe"]["httpGet"]["path"] == "/readyz"
    requests, health = CONTAINER["ports"]
    found = [(one.address, one.port, one.serves) for one in config.listeners]
    assert found == [("0.0.0.0", requests["containerPort"], "all"), ("0.0.0.0", health["containerPort"], "health")]
    assert {probe["port"] for probe in probes} == {health["name"]}
    assert [port["targetPort"] for port in KUBERNETES["Service"]["spec"]["ports"]] == [requests["name"]]


@needs_feature("admin")
def test_several_replicas_share_their_state_and_require_a_key(config_path):
    config = load(config_path, None)
    assert KUBERNETES["HorizontalPodAutoscaler"]["spec"]["minReplicas"] >= 2
    assert config.state_storage.type == "postgres"
    assert config.counters.type == "redis"
    assert config.client_keys


def test_labels_select_the_pods():
    labels = KUBERNETES["Deployment"]["spec"]["selector"]["matchLabels"]
    assert labels.items() <= KUBERNETES["Deployment"]["spec"]["template"]["metadata"]["labels"].items()
    assert KUBERNETES["Service"]["spec"]["selector"] == labels
    assert KUBERNETES["PodDisruptionBudget"]["spec"]["selector"]["matchLabels"] == labels
    pods = KUBERNETES["HorizontalPodAutoscaler"]["spec"]
    assert KUBERNETES["PodDisruptionBudget"]["spec"]["minAvailable"] < pods["minReplicas"]
    assert pods["scaleTargetRef"]["name"] == KUBERNETES["Deployment"]["metadata"]["name"]


def test_one_late_response_does_not_remove_a_pod():
    """On a busy node all pods are late together. A Service without pods would turn late responses into failures."""
    probe = CONTAINER["readinessProbe"]
    assert probe["failureThreshold"] >= 3
    assert probe["timeoutSeconds"] <= probe["periodSeconds"]


# Helm


def by_kind(manifests: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the manifests by kind, and the dashboard, which is a second ConfigMap, as ``dashboard``."""
    name = "-dashboard"
    return {"dashboard" if one["metadata"]["name"].endswith(name) else one["kind"]: one for one in manifests}


def render(**values: Any) -> dict[str, Any]:
    return by_kind(Templates(values, "my-release").manifests())


def pod_of(found: dict[str, Any]) -> Any:
    return found["Deployment"]["spec"]["template"]["spec"]


EVERYTHING = {
    **{name: {"enabled": True} for name in ("autoscaling", "podMonitor", "prometheusRule", "dashboard")},
    "ingress": {"enabled": True, "hosts": ["llm.example"], "tls": [{"secretName": "tls", "hosts": ["llm.example"]}]},
    "httpRoute": {"enabled": True, "parentRefs": [{"name": "public"}], "timeouts": None},
    "files": {"rules.txt": "one"}, "args": ["--log-format", "json"], "env": [{"name": "A", "value": "b"}],
    "image": {"tag": "1.2"}, "tolerations": [{"key": "gpu"}], "serviceAccount": {"annotations": {"role": "llm"}},
}  # fmt: skip


@pytest.mark.process
def test_helm_accepts_the_chart_and_renders_it_as_our_tests_do():
    assert "0 chart(s) failed" in helm("lint", "--strict", CHART)
    assert kubernetes.page() == (DEPLOY / "kubernetes.yaml").read_text()
    found = helm("template", "my-release", CHART, "-f", "-", input=yaml.safe_dump(EVERYTHING))
    assert by_kind([one for one in yaml.safe_load_all(found) if one]) == render(**EVERYTHING)


def test_the_operators_configuration_and_secret_replace_the_charts():
    text = "version: v0.4.0\nmodel_providers: [{model: ollama/llama3.2}]\n"
    found = render(config=text, secrets={"existing": "mine"})
    assert found["ConfigMap"]["data"] == {"trigate.yaml": text}
    assert "Secret" not in found
    assert [one["secret"]["secretName"] for one in pod_of(found)["volumes"] if "secret" in one] == ["mine"]
    assert found["Deployment"]["spec"]["replicas"] == 2


@pytest.mark.parametrize("values", [{"config": "version: v0.4.0"}, {"files": {"steps.py": "RULES = 1\n"}}])
def test_a_changed_configuration_replaces_the_pods(values):
    def annotations(**values: Any) -> Any:
        return render(**values)["Deployment"]["spec"]["template"]["metadata"]["annotations"]

    assert annotations() == annotations()
    assert annotations() != annotations(**values)


def test_the_operators_own_rules_and_scrapes_are_rendered():
    peer = {"namespaceSelector": {"matchLabels": {"team": "ingress"}}}
    rule = {"to": [{"ipBlock": {"cidr": "10.1.2.0/24"}}], "ports": [{"port": 8000}]}
    scrapes = {"enabled": True, "labels": {"release": "prometheus"}, "key": {"secret": "keys"}}
    found = render(networkPolicy={"from": [peer], "egress": [rule]}, podMonitor=scrapes)
    policy = found["NetworkPolicy"]["spec"]
    assert peer in policy["ingress"][0]["from"]
    assert policy["egress"][-1] == rule
    monitor = found["PodMonitor"]
    assert monitor["metadata"]["labels"]["release"] == "prometheus"
    (endpoint,) = monitor["spec"]["podMetricsEndpoints"]
    assert endpoint["authorization"]["credentials"] == {"name": "keys", "key": "METRICS_KEY"}
    assert endpoint["port"] in {port["name"] for port in CONTAINER["ports"]}
    assert "NetworkPolicy" not in render(networkPolicy={"enabled": False})


def test_files_options_and_volumes_of_the_operator_reach_the_container():
    files = {"steps.py": "def check(texts):\n    return []\n"}
    volume, mount = {"name": "ca", "configMap": {"name": "my-ca"}}, {"name": "ca", "mountPath": "/etc/ca"}
    found = render(files=files, args=["--log-format", "json"], volumes=[volume], volumeMounts=[mount])
    assert found["ConfigMap"]["data"].items() >= files.items()
    (container,) = pod_of(found)["containers"]
    assert container["args"] == [*CONTAINER["args"], "--log-format", "json"]
    assert container["volumeMounts"] == [*CONTAINER["volumeMounts"], mount]
    assert pod_of(found)["volumes"][-1] == volume


def test_a_route_leads_to_the_port_of_the_service():
    ingress = {"enabled": True, "className": "nginx", "hosts": ["llm.example"], "annotations": {"a/b": "off"}}
    parent = {"name": "public", "namespace": "gateways"}
    found = render(ingress=ingress, httpRoute={"enabled": True, "parentRefs": [parent], "hostnames": ["llm.example"]})
    name, (port,) = found["Service"]["metadata"]["name"], found["Service"]["spec"]["ports"]
    assert found["Ingress"]["metadata"]["annotations"] == {"a/b": "off"}
    assert found["Ingress"]["spec"]["ingressClassName"] == "nginx"
    (rule,) = found["Ingress"]["spec"]["rules"]
    backend = {"service": {"name": name, "port": {"name": port["name"]}}}
    assert rule == {"host": "llm.example", "http": {"paths": [{"path": "/", "pathType": "Prefix", "backend": backend}]}}
    route = found["HTTPRoute"]["spec"]
    assert (route["parentRefs"], route["hostnames"]) == ([parent], ["llm.example"])
    assert route["rules"] == [{"backendRefs": [{"name": name, "port": port["port"]}], "timeouts": {"request": "0s"}}]


@pytest.mark.parametrize("kind", ["ingress", "httpRoute"])
def test_a_route_without_a_gateway_or_ingress_is_rejected(kind):
    with pytest.raises(AssertionError, match=rf"{kind}\.\w+ is empty: list the"):
        render(**{kind: {"enabled": True}})


def test_the_alerts_and_the_dashboard_match_the_files():
    monitor = {"enabled": True}
    found = render(podMonitor=monitor, prometheusRule={"enabled": True, "labels": {"r": "p"}}, dashboard=monitor)
    alerts = yaml.safe_load((DEPLOY / "prometheus/alerts.yaml").read_text())
    assert (found["PrometheusRule"]["spec"], found["PrometheusRule"]["metadata"]["labels"]["r"]) == (alerts, "p")
    assert found["dashboard"]["metadata"]["labels"]["grafana_dashboard"] == "1"
    assert json.loads(found["dashboard"]["data"]["trigate.json"]) == json.loads(
        (DEPLOY / "grafana/trigate.json").read_text()
    )
    label = found["PodMonitor"]["spec"]["jobLabel"]  # the alerts' name of the job
    assert found["Deployment"]["spec"]["template"]["metadata"]["labels"][label] == "trigate"


def test_two_releases_have_different_names():
    names = [{one["metadata"]["name"] for one in Templates({}, name).manifests()} for name in ("one", "two")]
    assert names == [{"one-trigate"}, {"two-trigate"}]


def test_the_chart_has_the_version_of_the_package():
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert (chart["version"], chart["appVersion"]) == (version, version)


def test_the_memory_limit_suffices_for_all_admitted_streams():
    resources = CONTAINER["resources"]
    need = IDLE + Limits().in_flight * STREAM
    assert megabytes(resources["requests"]["memory"]) > need
    assert megabytes(resources["limits"]["memory"]) > 2 * need
    assert megabytes(COMPOSE["services"]["trigate"]["mem_limit"]) > 2 * need
    assert "cpu" not in resources["limits"]


def test_the_container_runs_as_the_images_user_without_other_privileges():
    user = re.search(r"^USER (\d+):(\d+)$", (ROOT / "Dockerfile").read_text(), re.M)
    assert (POD["securityContext"]["runAsUser"], POD["securityContext"]["runAsGroup"]) == (int(user[1]), int(user[2]))
    assert CONTAINER["securityContext"] == {
        "allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]},
    }  # fmt: skip


def test_the_image_has_a_directory_for_the_sqlite_file_that_its_user_may_write():
    text = (ROOT / "Dockerfile").read_text()
    user, group = re.search(r"^USER (\d+):(\d+)$", text, re.M).groups()
    made = f"install -d -o {user} -g {group} -m 700 /var/lib/trigate"
    assert made in text[: text.index(f"\nUSER {user}:{group}\n")]
    assert "-v trigate-state:/var/lib/trigate" in (ROOT / "docs/operating.md").read_text()


# Compose


def test_a_container_has_the_time_to_drain():
    assert seconds(COMPOSE["services"]["trigate"]["stop_grace_period"]) > whole_drain()


def test_the_container_serves_only_this_machine_on_the_images_port():
    (port,) = COMPOSE["services"]["trigate"]["ports"]
    exposed = re.search(r"^EXPOSE (\d+)$", (ROOT / "Dockerfile").read_text(), re.M)[1]
    assert port == f"127.0.0.1:{exposed}:{exposed}"


def test_the_image_installs_the_requirements_in_the_compose_file():
    asked = COMPOSE["services"]["trigate"]["build"]["args"]["REQUIREMENTS"]
    dockerfile = (ROOT / "Dockerfile").read_text()
    assert re.search(rf"^COPY .*\b{re.escape(asked)}\b", dockerfile, re.M)
    assert '-r "$REQUIREMENTS"' in dockerfile
    assert re.search(r"^psycopg\[binary\]==.* \\\n +--hash=sha256:", (ROOT / asked).read_text(), re.M)


def pins(name: str) -> set[str]:
    return set(re.findall(r"^([a-z0-9._-]+(?:\[[a-z, -]+\])?==[^ \\]+)", (ROOT / name).read_text(), re.M))


def test_the_extras_add_to_the_same_versions_and_contain_no_host():
    assert pins("requirements.txt") <= pins("requirements-extras.txt")
    assert "://" not in (ROOT / "requirements-extras.txt").read_text()


# systemd


def test_the_service_has_the_time_to_drain():
    assert seconds(unit()["TimeoutStopSec"][0]) > whole_drain()


def test_only_the_supervisor_gets_a_signal():
    assert unit()["KillMode"] == ["mixed"]


def test_a_reload_is_checked_first():
    text = UNIT.read_text()
    checked, told = re.findall("^ExecReload=(.*)$", text, re.M)
    (start,) = re.findall("^ExecStart=(.*)$", text, re.M)
    command, _, file = start.split()[:3]
    assert checked == f"{command} check {file}"
    assert told == "/bin/kill -HUP $MAINPID"


@pytest.fixture
def here(tmp_path) -> Path:
    """Return the unit with a program that exists on this machine."""
    program = shutil.which("true")
    path = tmp_path / UNIT.name
    path.write_text(UNIT.read_text().replace("/opt/trigate/bin/trigate", str(program)))
    return path


def analyze(*args: str, **env: str) -> "subprocess.CompletedProcess[str]":
    program = shutil.which("systemd-analyze")
    if program is None:
        pytest.skip("there is no systemd-analyze here")
    return subprocess.run([program, *args], capture_output=True, text=True, timeout=60, env={**os.environ, **env})


@pytest.mark.process
def test_systemd_accepts_the_unit(here):
    found = analyze("verify", str(here))
    assert (found.returncode, [line for line in found.stderr.splitlines() if here.name in line]) == (0, [])


@pytest.mark.process
def test_systemd_rates_the_exposure_as_low(here):
    found = analyze("security", "--offline=true", "--no-pager", "--threshold=20", str(here))
    if "unrecognized option" in found.stderr:
        pytest.skip("this systemd-analyze cannot look at a file")
    assert found.returncode == 0, found.stdout[-500:] + found.stderr


# On a laptop


LAPTOP = DEPLOY / "laptop"


@pytest.mark.process
def test_systemd_accepts_the_unit_of_a_user(tmp_path):
    program = shutil.which("true")
    path = tmp_path / "trigate.service"
    path.write_text((LAPTOP / path.name).read_text().replace("%h/.local/bin/trigate", str(program)))
    found = analyze("verify", "--user", str(path), XDG_RUNTIME_DIR=str(tmp_path))
    assert (found.returncode, [line for line in found.stderr.splitlines() if path.name in line]) == (0, [])


def test_both_services_of_a_user_start_the_same_program_with_the_same_files():
    unit, agent = (LAPTOP / "trigate.service").read_text(), plistlib.loads((LAPTOP / "dev.trigate.plist").read_bytes())
    assert agent["Label"] == "dev.trigate"
    shell = agent["ProgramArguments"][-1].replace('"', "")
    for path in (".local/bin/trigate", ".config/trigate/trigate.yaml", ".config/trigate/environment"):
        assert f"%h/{path}" in unit
        assert f"$HOME/{path}" in shell


@pytest.mark.process
def test_the_shell_of_launchd_passes_the_keys_to_the_program(tmp_path):
    agent = plistlib.loads((LAPTOP / "dev.trigate.plist").read_bytes())
    for folder in (".config/trigate", ".local/bin", ".local/state/trigate"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / ".config/trigate/environment").write_text("OPENAI_API_KEY=sk-one\n")
    program = tmp_path / ".local/bin/trigate"
    program.write_text('#!/bin/sh\necho "$OPENAI_API_KEY $*"; echo told >&2\n')
    program.chmod(0o755)
    found = subprocess.run(
        agent["ProgramArguments"], env={"HOME": str(tmp_path)}, capture_output=True, text=True, check=True
    )
    assert found.stdout == f"sk-one serve {tmp_path}/.config/trigate/trigate.yaml\n"
    assert (tmp_path / ".local/state/trigate/trigate.log").read_text() == "told\n"


# A load by several pods
