"""What people with containers deploy: the linters of each format accept it, and it says what the code says.

No container engine is needed, and none is used: whether an image runs is not shown here.
"""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tallystick.settings import Settings
from tests.docs.pages import ROOT

DEPLOY = ROOT / "deploy"
CHART = DEPLOY / "helm"
BIN = Path(sys.executable).parent
HELM = ROOT / "build" / "tools" / "helm"
KUBERNETES = "1.33.0"


def program(path):
    if not path.exists():
        pytest.skip(f"{path.name} is not installed here: run `make deploy-tools`")
    return str(path)


def helm():
    found = shutil.which("helm") or program(HELM)
    return str(found)


def rendered(tmp_path, *values):
    """The chart's manifests, as documents and as a file."""
    words = [word for value in values for word in ("--set", value)]
    made = subprocess.run(
        [helm(), "template", "bank", str(CHART), "--kube-version", KUBERNETES, *words],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    path = tmp_path / "manifests.yaml"
    path.write_text(made)
    return list(yaml.safe_load_all(made)), path


def settings_known():
    return {f"TALLY_{name.upper()}" for name in Settings.model_fields}


@pytest.mark.service
def test_the_compose_file_is_one():
    check = [program(BIN / "check-jsonschema"), "--builtin-schema", "vendor.compose-spec", str(DEPLOY / "compose.yaml")]
    done = subprocess.run(check, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.service
def test_the_chart_passes_its_linter_strictly():
    done = subprocess.run([helm(), "lint", "--strict", str(CHART)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.service
def test_the_chart_tells_the_relay_where_only_where_one_is_wanted(tmp_path):
    """An empty one would hide that of a Secret."""
    for values, told in (((), []), (("relay=kafka://broker:9092/bank",), ["kafka://broker:9092/bank"])):
        documents, _ = rendered(tmp_path, *values)
        (pods,) = (each for each in documents if each["kind"] == "StatefulSet")
        (container,) = pods["spec"]["template"]["spec"]["containers"]
        assert [each["value"] for each in container["env"] if each["name"] == "TALLY_RELAY"] == told


@pytest.mark.service
def test_a_release_that_stands_by_is_not_ended_because_it_waits(tmp_path):
    """Its gateway is not ready before it takes over, which may be never."""
    for standby, path in (("false", "/ready"), ("true", "/health")):
        documents, _ = rendered(tmp_path, f"standby={standby}", "shards=2")
        (pods,) = (each for each in documents if each["kind"] == "StatefulSet")
        (container,) = pods["spec"]["template"]["spec"]["containers"]
        told = {each["name"]: each["value"] for each in container["env"]}
        assert (told["TALLY_STANDBY"], told["TALLY_SHARDS"]) == (standby, "2")
        assert container["startupProbe"]["httpGet"]["path"] == path
        assert container["livenessProbe"]["httpGet"]["path"] == "/health"
        assert container["readinessProbe"]["httpGet"]["path"] == "/ready"


@pytest.mark.service
@pytest.mark.parametrize("values", [(), ("gateways=3", "settingsSecret=secret", "storage.className=fast")])
def test_what_the_chart_makes_is_what_kubernetes_takes(tmp_path, values):
    documents, path = rendered(tmp_path, *values)
    done = subprocess.run(
        [program(BIN / "kubernetes-validate"), "--strict", str(path)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert {document["kind"] for document in documents} == {"StatefulSet", "Service"}


@pytest.mark.service
def test_never_two_pods_and_the_bank_outlives_the_release(tmp_path):
    documents, _ = rendered(tmp_path)
    (bank,) = (document["spec"] for document in documents if document["kind"] == "StatefulSet")
    assert bank["replicas"] == 1
    assert bank["persistentVolumeClaimRetentionPolicy"] == {"whenDeleted": "Retain", "whenScaled": "Retain"}
    (claim,) = bank["volumeClaimTemplates"]
    assert claim["spec"]["accessModes"] == ["ReadWriteOncePod"]
    (container,) = bank["template"]["spec"]["containers"]
    mounts = {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]}
    assert mounts["bank"] == data_folder()


def data_folder():
    (folder,) = re.findall(r"TALLY_DATA=(\S+)", (DEPLOY / "Dockerfile").read_text())
    return folder


def test_every_setting_that_is_deployed_is_one():
    for path in (DEPLOY / "Dockerfile", DEPLOY / "compose.yaml", CHART / "values.yaml", *CHART.glob("templates/*")):
        named = set(re.findall(r"TALLY_[A-Z_]*[A-Z]", path.read_text()))
        assert named <= settings_known(), path


def test_the_volume_holds_the_data_folder_and_the_image_is_ours():
    compose = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
    bank = compose["services"]["tallystick"]
    assert [volume["target"] for volume in bank["volumes"]] == [data_folder()]
    version = re.search(r'^version = "(.*)"$', (ROOT / "pyproject.toml").read_text(), re.MULTILINE)[1]
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    assert bank["image"] == f"tallystick:{version}"
    assert (chart["version"], chart["appVersion"]) == (version, version)


def test_the_image_is_made_with_the_same_uv_as_a_checkout():
    (wanted,) = re.findall(r"UV_VERSION := (\S+)", (ROOT / "Makefile").read_text())
    assert f"astral-sh/uv:{wanted} " in (DEPLOY / "Dockerfile").read_text()
