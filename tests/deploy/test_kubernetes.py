"""The manifests, against Kubernetes' own schemas and against what our processes need."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from cli.commands import COMMANDS
from cli.stack.stack import ROOT
from settings import Settings

pytestmark = pytest.mark.deploy

BASE = ROOT / "deploy" / "kubernetes" / "base"
OVERLAYS = ROOT / "deploy" / "kubernetes" / "overlays"
DEPLOYMENTS = ("iterate", "cleanup", "feed", "guard", "web", "metrics", "alerts")
VERSIONS = ("1.28", "1.32")
#: Soft limit of what a process may be in the middle of when it is asked to end, s.
SOFT_S = {"iterate": Settings.iterate_soft_limit_s, "cleanup": Settings.cleanup_soft_limit_s}


def documents(path: Path) -> list[dict[str, Any]]:
    return [each for each in yaml.safe_load_all(path.read_text()) if each]


def resources(folder: Path) -> list[dict[str, Any]]:
    """Return everything that a kustomization names."""
    (found,) = documents(folder / "kustomization.yaml")
    return [
        each
        for name in found["resources"]
        for each in (documents(folder / name) if name.endswith(".yaml") else resources(folder / name))
    ]


def deployment(name: str) -> dict[str, Any]:
    (found,) = documents(BASE / f"{name}.yaml")
    return found


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("folder", [BASE, OVERLAYS / "autoscaling-hpa"], ids=lambda path: path.name)
def test_the_schemas_know_everything(folder: Path, version: str) -> None:
    for each in resources(folder):
        kubernetes_validate.validate(each, version, strict=True)


def test_the_schemas_would_notice() -> None:
    broken = deployment("iterate")
    broken["spec"]["template"]["spec"]["terminationGraceSeconds"] = 1
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(broken, VERSIONS[0], strict=True)


@pytest.mark.parametrize("folder", [BASE, *sorted(OVERLAYS.iterdir())], ids=lambda path: path.name)
def test_a_kustomization_names_what_there_is_and_everything(folder: Path) -> None:
    (found,) = documents(folder / "kustomization.yaml")
    files = {path.name for path in folder.glob("*.yaml")} - {"kustomization.yaml"}
    assert {name for name in found["resources"] if name.endswith(".yaml")} == files
    for generator in found.get("secretGenerator", ()):
        for name in generator["files"]:
            assert (folder / name.replace("secrets/", "secrets.example/")).is_file(), name
    for generator in found.get("configMapGenerator", ()):
        for name in generator.get("files", ()):
            assert (folder / name).is_file(), name


@pytest.mark.parametrize("name", DEPLOYMENTS)
def test_a_pod_may_do_little(name: str) -> None:
    pod = deployment(name)["spec"]["template"]["spec"]
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["automountServiceAccountToken"] is False
    (container,) = pod["containers"]
    context = container["securityContext"]
    assert context["readOnlyRootFilesystem"] is True
    assert context["allowPrivilegeEscalation"] is False
    assert context["capabilities"] == {"drop": ["ALL"]}
    assert {"limits", "requests"} <= set(container["resources"])
    assert not any("SECRET" in one["name"] or "PASSWORD" in one["name"] for one in container["env"])


@pytest.mark.parametrize("name", DEPLOYMENTS)
def test_a_pod_has_time_to_end(name: str) -> None:
    pod = deployment(name)["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    before_s = int(container["lifecycle"]["preStop"]["exec"]["command"][1])
    # 20 s: when a worker that was asked to end is killed by its own last resort (decision 0022).
    assert pod["terminationGracePeriodSeconds"] >= before_s + max(20, SOFT_S.get(name, 0))


@pytest.mark.parametrize("name", DEPLOYMENTS)
def test_a_pod_runs_what_there_is_with_secrets_that_are_made(name: str) -> None:
    pod = deployment(name)["spec"]["template"]["spec"]
    arguments = pod["containers"][0]["args"]
    if "manage.py" in arguments:
        assert arguments[2] in COMMANDS
    else:
        serves = {"iterate": "-X", "cleanup": "-Q"}[name]
        assert arguments[:6] == ["celery", "-A", "tasks", "worker", serves, "cleanup"]
    (base,) = documents(BASE / "kustomization.yaml")
    made = {generator["name"] for generator in base["secretGenerator"]}
    (secrets,) = [volume for volume in pod["volumes"] if volume["name"] == "secrets"]
    assert {source["secret"]["name"] for source in secrets["projected"]["sources"]} <= made


def test_every_selector_finds_its_pods() -> None:
    labels = [deployment(name)["spec"]["template"]["metadata"]["labels"] for name in DEPLOYMENTS]
    for each in resources(BASE):
        if each["kind"] in ("Service", "PodDisruptionBudget", "Deployment"):
            selector = each["spec"]["selector"]
            wanted = selector.get("matchLabels", selector)
            assert any(wanted.items() <= one.items() for one in labels), each["metadata"]["name"]


def test_everything_is_closed_first() -> None:
    (closed,) = [
        each
        for each in resources(BASE)
        if each["kind"] == "NetworkPolicy" and each["metadata"]["name"] == "nothing-in-but-what-is-said"
    ]
    assert closed["spec"]["ingress"] == []
    assert set(closed["spec"]["policyTypes"]) == {"Ingress", "Egress"}


def test_keda_watches_the_queue_of_iterations() -> None:
    """KEDA's schemas are not at hand: what its documentation requires, by hand."""
    found = {each["kind"]: each for each in documents(OVERLAYS / "autoscaling-keda" / "iterate.yaml")}
    assert set(found) == {"TriggerAuthentication", "ScaledObject"}
    assert {each["apiVersion"] for each in found.values()} == {"keda.sh/v1alpha1"}
    spec = found["ScaledObject"]["spec"]
    assert spec["scaleTargetRef"]["name"] == "iterate"
    assert 1 < spec["minReplicaCount"] < spec["maxReplicaCount"]
    (trigger,) = spec["triggers"]
    assert trigger["type"] == "redis"
    assert trigger["metadata"]["listName"] == "iterate"
    assert {type(value) for value in trigger["metadata"].values()} == {str}
    assert trigger["authenticationRef"]["name"] == found["TriggerAuthentication"]["metadata"]["name"]
    references = found["TriggerAuthentication"]["spec"]["secretTargetRef"]
    assert {one["parameter"] for one in references} == {"username", "password"}
