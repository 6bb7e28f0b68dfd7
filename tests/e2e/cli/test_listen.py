"""`tally listen` and `tally trigger` as a developer uses them, against a real gateway and notifier."""

import json
import os
import signal
import subprocess
import sys

import pytest

from tests.e2e.gateway.running import Gateway
from tests.e2e.notifier.running import NotifierProcess, Receiver, eventually

TALLY = [sys.executable, "-m", "tallystick.cli.main"]


@pytest.fixture(scope="module")
def gateway(tmp_path_factory):
    with Gateway(tmp_path_factory.mktemp("listening")) as made, NotifierProcess(made.data):
        yield made


class Listening:
    """`tally listen` with these options; use it as a context."""

    def __init__(self, gateway, *words):
        self.gateway, self.words = gateway, words

    def __enter__(self):
        self.process = subprocess.Popen(
            [*TALLY, "listen", *self.words], env=environment(self.gateway), stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        said = self.process.stderr.readline()
        assert "listening at" in said, said + self.process.stderr.read()
        self.subscription = said.split("subscription ")[1].split(";")[0]
        return self

    def end(self):
        self.process.send_signal(signal.SIGINT)
        said, complained = self.process.communicate(timeout=20)
        return self.process.returncode, said, complained

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self.process.stdout.close()
        self.process.stderr.close()


def environment(gateway):
    return {**os.environ, "TALLY_URL": f"http://127.0.0.1:{gateway.port}", "TALLY_API_KEY": gateway.key}


def trigger(gateway, subscription):
    done = subprocess.run(
        [*TALLY, "trigger", subscription, "--json"],
        env=environment(gateway),
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, json.loads(done.stdout)


def test_a_webhook_is_shown_and_the_subscription_is_deleted_at_the_end(gateway):
    with Listening(gateway, "--json") as listening:
        code, sent = trigger(gateway, listening.subscription)
        assert (code, sent["state"]) == (0, "delivered")
        code, said, _ = listening.end()
        assert code == 0
        shown = json.loads(said)
        assert (shown["webhook_id"], shown["type"], shown["repeated"]) == (sent["id"], "webhook.test", False)
    assert gateway.ask("GET", f"/v1/webhooks/{listening.subscription}").problem == "not_found"


def test_it_ends_by_itself_after_so_many_webhooks(gateway):
    with Listening(gateway, "--count", "1", "--type", "review.*") as listening:
        assert gateway.ask("GET", f"/v1/webhooks/{listening.subscription}").json["types"] == ["review.*"]
        sent = gateway.ask("POST", f"/v1/webhooks/{listening.subscription}/test").json
        said, _ = listening.process.communicate(timeout=20)
        assert listening.process.returncode == 0
        assert "webhook.test" in said
        assert sent["id"] in said


@pytest.mark.service  # a retry takes its five seconds
def test_a_webhook_is_handed_on_and_what_is_not_taken_comes_again(gateway):
    with Receiver() as program, Listening(gateway, "--json", "--forward", program.url) as listening:
        program.answer = 500
        sent = gateway.ask("POST", f"/v1/webhooks/{listening.subscription}/test").json
        eventually(lambda: program.ids == [sent["id"]])
        program.answer = 200
        eventually(lambda: program.ids == [sent["id"]] * 2, seconds=30)
        shown = [json.loads(line) for line in listening.end()[1].splitlines()]
        assert [each["forwarded"] for each in shown] == [500, 200]
        assert [each["repeated"] for each in shown] == [False, False]


def test_a_webhook_that_somebody_else_signed_is_not_taken(gateway):
    with Listening(gateway, "--json") as listening:
        url = gateway.ask("GET", f"/v1/webhooks/{listening.subscription}").json["url"]
        forged = gateway.ask("POST", "/v1/webhooks", {"url": url, "types": ["*"]}).json
        code, sent = trigger(gateway, forged["id"])
        assert (code, sent["state"], sent["reason"]) == (1, "waiting", "answered 401")
        gateway.ask("DELETE", f"/v1/webhooks/{forged['id']}")
        _, said, complained = listening.end()
        assert said == ""
        assert "not taken" in complained


def test_a_problem_is_told_in_one_line(gateway):
    done = subprocess.run(
        [*TALLY, "listen", "--type", "nothing"], env=environment(gateway), capture_output=True, text=True, check=False
    )
    assert done.returncode == 3
    assert "types[0]" in done.stderr
    assert len(done.stderr.splitlines()) == 1
