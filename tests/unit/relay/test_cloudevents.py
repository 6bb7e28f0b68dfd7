"""Events against the rules of CloudEvents 1.0.2, for every sort of entry that the real engine decides."""

import json
import re
from datetime import datetime
from urllib.parse import urlsplit

from tallystick import telling
from tallystick.relay import cloudevents
from tests.unit.test_telling import all_told, entries

SOURCE = cloudevents.source("tallystick.example/ledger/3")
NAME = re.compile(r"[a-z0-9]{1,20}")
"""§3, "Naming conventions"; 20 characters are recommended."""


def events():
    work, _ = all_told()
    told = telling.told(work, telling.types_of(work))
    return [(each, cloudevents.event(each, SOURCE, 3)) for each in told]


def test_an_event_has_what_the_specification_requires_and_nothing_that_it_forbids():
    for told, event in events():
        shown = json.loads(event.body)
        assert {"specversion", "id", "source", "type"} <= set(shown)
        assert shown["specversion"] == "1.0"
        assert all(NAME.fullmatch(name) for name in shown)
        for name, value in shown.items():
            if name != "data":
                assert isinstance(value, str), name
                assert value, "an attribute that is there is not empty"
                assert value.isprintable()
        source = urlsplit(shown["source"])
        assert (source.scheme, source.netloc, source.path) == ("https", "tallystick.example", "/ledger/3")
        assert shown["type"] == f"tallystick.{told.type}"
        assert shown["datacontenttype"] == "application/json"
        assert isinstance(shown["data"], dict)
        assert shown["data"] == told.data


def test_the_time_is_of_rfc_3339_and_keeps_its_nanoseconds():
    for told, event in events():
        time = json.loads(event.body)["time"]
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z", time)
        seconds = int(datetime.fromisoformat(time[:19] + "+00:00").timestamp())
        assert seconds * 10**9 + int(time[20:29]) == told.timestamp_ns == int(told.data["timestamp"])


def test_ids_are_unique_and_sequences_grow_as_texts():
    made = events()
    shown = [json.loads(event.body) for _, event in made]
    assert len({each["id"] for each in shown}) == len(shown) > 1000
    sequences = [each["sequence"] for each in shown]
    assert sequences == sorted(sequences)
    assert [int(each) for each in sequences] == [told.seq for told, _ in made]
    assert len(set(map(len, sequences))) == 1


def test_an_event_is_the_same_however_often_it_is_made_and_another_entry_there_has_another_id():
    assert [event.body for _, event in events()] == [event.body for _, event in events()]
    assert cloudevents.event_id(0, 7, bytes(16)) != cloudevents.event_id(0, 7, bytes([1]) * 16)
    assert cloudevents.event_id(0, 7, bytes(16)) != cloudevents.event_id(1, 7, bytes(16))
    assert cloudevents.event_id(0, 7, bytes(16)).startswith("0-7-")


def test_an_event_names_its_tenant_its_subject_and_its_route():
    for told, event in events():
        shown = json.loads(event.body)
        assert shown["partitionkey"] == shown["tenant"] == str(told.tenant)
        assert event.tenant == told.tenant
        assert event.route == f"{told.tenant}.{told.type}"
        ids = {told.data.get(name) for name in ("transfer_id", "account_id", "pending_id")} - {None}
        assert ("subject" in shown) == bool(ids)
        if ids:
            assert re.fullmatch(r"(transfers|accounts)/[0-9a-f]{32}", shown["subject"])
            assert shown["subject"].split("/")[1] in ids


def test_nothing_of_the_details_and_no_nonce_is_in_an_event():
    work, details = entries()
    types = telling.types_of(work)
    told = telling.told(work[types != telling.NONE], types[types != telling.NONE])
    secret = ("verdict", "score", "reason", "fingerprint", "previous", "line")
    for each in told:
        shown = json.loads(cloudevents.event(each, SOURCE, 3).body)
        names = {*shown, *shown["data"]}
        assert not [name for name in names for word in secret if word in name]
        private = {str(details[each.seq][name]) for name in ("debit_previous", "credit_previous")} - {"0"}
        values = {value for name, value in shown["data"].items() if name not in ("position", "amount", "credit_limit")}
        assert not private & values
        assert each.nonce.hex() not in json.dumps(shown)
        assert details[each.seq]["fingerprint"].tobytes().hex() not in json.dumps(shown)


def test_a_name_of_a_log_with_odd_letters_is_a_uri_all_the_same():
    source = cloudevents.source("bücher.example/a b%/0")
    assert source == "https://b%C3%BCcher.example/a%20b%25/0"
