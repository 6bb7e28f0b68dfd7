"""Alerts, runbooks and metrics: what is named in one place exists in the others."""

import json
import re
from dataclasses import dataclass

import pytest
import yaml

from tallystick.compose import notifying, relay
from tallystick.compose.measuring import FAMILIES
from tallystick.gateway.metrics import Metrics
from tallystick.gateway.platform import Platform
from tallystick.lab.simulated_clock import SimulatedClock
from tests.docs.pages import ROOT

PAGE = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
GROUPS = yaml.safe_load((ROOT / "deploy" / "alerts.yml").read_text(encoding="utf-8"))["groups"]
RULES = [rule for group in GROUPS for rule in group["rules"]]
NOT_OURS = {"up"}
WORDS = {"time", "max", "sum", "rate", "increase", "histogram_quantile", "by", "le", "process", "follower", "job", "or"}


@dataclass
class Scrubbed:
    scrubbed: int = 0
    completed_at_ns: int = 0
    damaged: int = 0


@pytest.fixture(scope="module")
def known(tmp_path_factory):
    """Every metric there is, counters with their `_total`."""
    metrics = Metrics()
    metrics.scrub = Scrubbed
    metrics.platform = Platform(tmp_path_factory.mktemp("run"), SimulatedClock(), list).metrics
    types = dict(re.findall(r"^# TYPE (\S+) (\S+)$", metrics.render().decode(), re.MULTILINE))
    families = (*FAMILIES, *notifying.FAMILIES, *relay.FAMILIES)
    types |= {family.name + ("_total" if family.kind == "counter" else ""): family.kind for family in families}
    return {name: kind for name, kind in types.items() if not name.endswith("_created")}


def test_the_scrape_configuration_is_of_the_job_that_the_alerts_name():
    configuration = yaml.safe_load((ROOT / "deploy" / "prometheus.yml").read_text(encoding="utf-8"))
    assert [job["job_name"] for job in configuration["scrape_configs"]] == ["tallystick"]
    assert configuration["rule_files"] == ["alerts.yml"]


def named(text):
    return set(re.findall(r"\btally_[a-z_]+", text))


def base(name):
    return re.sub(r"_(bucket|sum|count)$", "", name)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule["alert"])
def test_every_metric_of_an_alert_exists(rule, known):
    expression = re.sub(r'"[^"]*"', "", rule["expr"])
    words = set(re.findall(r"[a-z_][a-z_0-9]*", re.sub(r"\[\w+\]", "", expression))) - WORDS
    assert (
        words - {"status"} - set(known) - NOT_OURS - {name for name in words if known.get(base(name)) == "histogram"}
        == set()
    )
    assert rule["labels"]["severity"] in ("page", "ticket")
    assert rule["annotations"]["summary"].endswith(".")


def test_every_alert_has_a_runbook_and_every_runbook_an_alert():
    runbooks = re.findall(r"^### (Tally\w+)$", PAGE, re.MULTILINE)
    assert sorted(runbooks) == sorted(rule["alert"] for rule in RULES)


def test_every_metric_is_explained_and_none_that_does_not_exist(known):
    table = PAGE[PAGE.index("| arrow |") : PAGE.index("### Logs")]
    assert named(table) == set(known)
    assert {base(name) for name in named(PAGE)} <= set(known)


def test_the_dashboard_names_nothing_that_does_not_exist(known):
    board = json.loads((ROOT / "deploy" / "grafana.json").read_text(encoding="utf-8"))
    expressions = [target["expr"] for panel in board["panels"] for target in panel.get("targets", [])]
    assert len(expressions) > 10
    assert {name if name in known else base(name) for text in expressions for name in named(text)} <= set(known)


def test_every_log_event_of_the_page_is_one():
    table = PAGE[PAGE.index("| event |") : PAGE.index("What became of a request")]
    events = [
        event
        for line in table.splitlines()[2:]
        for event in re.findall(r"`([a-z ]+)`", line.split("|")[1] if line else "")
    ]
    source = "\n".join(path.read_text(encoding="utf-8") for path in (ROOT / "src").rglob("*.py"))
    assert len(events) >= 7
    assert [event for event in events if f'"{event}"' not in source] == []
