"""Every table of `tables/`, and that together they reach every status there is."""

from collections import defaultdict
from pathlib import Path

import pytest

from tallystick.lab.scenario_words import SUCCESS, lines_of
from tallystick.lab.scenarios import check
from tallystick.records.commands import Kind
from tallystick.statuses import AccountStatus, ControlStatus, RequestStatus, TransferStatus

TABLES = {
    f"{file.stem}: {heading}": table
    for file in sorted((Path(__file__).parent / "tables").glob("*.txt"))
    for heading, _, table in (part.partition("\n") for part in file.read_text().split("\n== ")[1:])
}
RULES = (Path(__file__).parents[2] / "docs" / "rules.md").read_text().split("```text\n")[1:]
VERBS = {
    "open": Kind.ACCOUNT,
    **dict.fromkeys(("transfer", "post", "void"), Kind.TRANSFER),
    **dict.fromkeys(("freeze", "unfreeze", "limit", "approve", "reject"), Kind.CONTROL),
}
FULL = {"too_many_accounts": {"accounts_max": 2}, "too_many_pending_transfers": {"pendings_max": 2}}
NO_TABLE = {
    "quarantined": "a request that kills its engine: tests/unit/engine/test_poison.py",
    "not_decided": "an answer of look-ups, before there is a decision: tests/unit/engine",
    "tenant_elsewhere": "an answer of another shard: tests/unit/engine/test_placing.py, tests/e2e/shards",
}


@pytest.mark.parametrize("name", TABLES)
def test_table(name):
    full = next((room for status, room in FULL.items() if status in TABLES[name]), {})
    check(TABLES[name], **full)


@pytest.mark.parametrize("place", range(len(RULES)))
def test_the_page_of_rules_tells_the_truth(place):
    check(RULES[place].partition("```")[0])


def expected_statuses():
    """By kind of command, the statuses that some line of a table expects. Each table is checked above."""
    found = defaultdict(set)
    for table in TABLES.values():
        for line in lines_of(table):
            verb = line.words[0]
            if verb in VERBS:
                status = line.expected or "created"
                created = "applied" if VERBS[verb] is Kind.CONTROL else "created"
                found[VERBS[verb]].add(created if status in SUCCESS else status)
            elif verb == "request" and line.expected:
                found["request"].add(line.expected)
    return found


@pytest.mark.parametrize(
    ("kind", "statuses"),
    [
        (Kind.TRANSFER, TransferStatus),
        (Kind.ACCOUNT, AccountStatus),
        (Kind.CONTROL, ControlStatus),
        ("request", RequestStatus),
    ],
    ids=lambda each: getattr(each, "__name__", ""),
)
def test_every_status_is_reached_by_a_table(kind, statuses):
    missing = {status.name.lower() for status in statuses} - expected_statuses()[kind]
    assert missing == {name.lower() for name in statuses.__members__} & set(NO_TABLE)


def test_headings_are_sentences_that_stand_once():
    headings = [name.partition(": ")[2] for name in TABLES]
    assert len(set(headings)) == len(headings)
    assert all(heading[0].isupper() and not heading.endswith(".") for heading in headings)
