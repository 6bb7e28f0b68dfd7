"""One scrape of a gateway tells of every arrow of the walk, also where a process was killed."""

import json

from tallystick.lab.instance import pause

DEADLINE_TRIES = 400


def scrape(instance):
    lines = instance.api().ask("GET", "/metrics").body.decode().splitlines()
    return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines if line[:1] != "#")}


def until(instance, condition):
    for _ in range(DEADLINE_TRIES):
        found = scrape(instance)
        if condition(found):
            return found
        pause(0.05)
    raise AssertionError(f"not in time: {found}")


def test_a_payment_counts_at_every_arrow(instance):
    before = scrape(instance)
    instance.open_accounts([901, 902], limited=False)
    after = until(instance, lambda found: found["tally_engine_accounts"] >= before["tally_engine_accounts"] + 2)

    def more(name):
        return after[name] - before.get(name, 0)

    assert more('tally_gateway_commands_acknowledged_total{lane="payments"}') == 2
    assert more("tally_engine_commands_total") == 2
    assert more("tally_engine_wait_seconds_count") == 1
    assert more("tally_engine_decide_seconds_count") == 1
    assert more("tally_engine_append_seconds_count") == 1
    assert more("tally_engine_next_seq") == 3
    assert more("tally_engine_journal_bytes_total") > 3 * 256
    assert 0 < after["tally_engine_append_seconds_sum"] < 100
    assert after['tally_process_up{process="engine"}'] == 1


def test_an_engine_that_is_stopped_still_shows_and_one_that_is_started_again_is_counted(instance):
    before = scrape(instance)
    with instance.stopped("engine"):
        stopped = scrape(instance)
        assert stopped["tally_engine_next_seq"] >= before["tally_engine_next_seq"]
    instance.kill("engine")
    starts = 'tally_process_starts_total{process="engine"}'
    after = until(instance, lambda found: found["tally_engine_epoch"] == before["tally_engine_epoch"] + 1)
    assert after[starts] == before[starts] + 1
    instance.wait_ready(60)


def test_a_request_that_is_late_can_be_followed_by_its_id(instance):
    instance.open_accounts([903, 904], limited=False)
    with instance.stopped("engine"):
        body = {
            "id": f"{905:032x}",
            "debit_account_id": f"{903:032x}",
            "credit_account_id": f"{904:032x}",
            "amount": "1",
            "ledger": 978,
            "code": 1,
        }
        key = f"{0xABCDEF905:032x}"
        answer = instance.api().ask("POST", "/v1/transfers", json.dumps(body).encode(), {"Idempotency-Key": key})
        assert answer.status == 202
    lines = [json.loads(line) for line in instance.log_path.read_text().splitlines() if key in line]
    assert [line["event"] for line in lines] == ["outcome not known in time"]
    assert lines[0]["exchange"] == answer.headers["X-Request-Id"]
    assert lines[0]["tenant"] == 1
