"""A log cosigned by witnesses that are processes of their own, and what is left when they fail."""

import contextlib
import json
import os
import signal
import socket
import subprocess

import pytest

from tallystick import ids
from tallystick.client.http import Api
from tallystick.gateway import auth
from tallystick.lab.instance import Instance, pause, tally
from tests.e2e.audit.test_audit import audit, paid, post, until

pytestmark = pytest.mark.service  # a minute: five processes start


@contextlib.contextmanager
def witness(folder, port, name):
    environment = {**os.environ, "TALLY_WITNESS_NAME": name, "TALLY_WITNESS_PORT": str(port)}
    command = [*tally("up"), "witness", "--data", str(folder)]
    with (folder / "log").open("ab") as log:
        process = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def free_port():
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


def vkeys(folder):
    """As the witness's log tells them."""
    for line in (folder / "log").read_text().splitlines():
        with contextlib.suppress(json.JSONDecodeError):
            if json.loads(line).get("event") == "witness listening":
                return json.loads(line)["keys"]
    return []


def test_receipts_are_witnessed_while_a_quorum_lives_and_logged_always(tmp_path):
    policy = tmp_path / "bank.policy"
    policy.write_text("quorum none\n")  # until the witnesses have keys
    folders = [tmp_path / f"w{number}" for number in range(3)]
    ports = [free_port() for _ in folders]
    with contextlib.ExitStack() as stack:
        instance = stack.enter_context(Instance(tmp_path / "bank", settings={"log_policy": str(policy)}))
        instance.wait_ready(180)
        until(lambda: (instance.folder / "signer" / "keys").exists())
        until(lambda: (instance.folder / "signer" / "control" / "keys").exists())
        own = {
            log: subprocess.run(
                [*tally("audit"), "policy", "--log", log, "--data", str(instance.folder)],
                capture_output=True, text=True, check=True,
            ).stdout.replace("quorum none\n", "")
            for log in ("ledger", "access", "control")
        }  # fmt: skip
        log = own["ledger"] + own["control"] + "quorum none\n"  # access is not named, so not witnessed
        started = []
        for number, folder in enumerate(folders):
            (folder / "witness").mkdir(parents=True)
            (folder / "witness" / "logs.policy").write_text(log)
            started.append(stack.enter_context(witness(folder, ports[number], f"w{number}.example")))
        until(lambda: all(map(vkeys, folders)))
        lines = [
            f"witness w{number} {vkeys(folder)[0]} http://127.0.0.1:{ports[number]}"
            for number, folder in enumerate(folders)
        ]
        text = "\n".join([log.replace("quorum none\n", "").rstrip(), *lines, "group two 2 w0 w1 w2", "quorum two", ""])
        policy.with_suffix(".new").write_text(text)
        policy.with_suffix(".new").replace(policy)
        instance.kill("auditor")  # it reads the policy as it starts

        api = pay_key(instance)
        for name in (1, 2):
            assert post(api, "/v1/accounts", {"id": ids.show(name), "ledger": 1, "code": 1}).status == 201
        paid(api, 100)
        path = tmp_path / "receipt"
        path.write_bytes(witnessed(api, 100))
        code, told = audit("verify", path, "--policy", policy)
        assert (code, told["grade"]) == (0, "witnessed"), told

        url, key_file = f"{instance.url}/v1/log/control", tmp_path / "key"
        key_file.write_text(instance.key_file.read_text())
        checked = ("verify-log", url, "--policy", policy, "--key-file", key_file)
        until(lambda: audit(*checked)[1].get("grade") == "witnessed")
        assert api.ask("GET", "/v1/log/control/checkpoint?grade=witnessed").status == 200
        assert api.ask("GET", "/v1/log/access/checkpoint?grade=witnessed").status == 404
        assert api.ask("GET", "/v1/log/access/checkpoint?grade=best").status == 400

        started[0].send_signal(signal.SIGSTOP)  # one hangs: two of three are left
        paid(api, 101)
        assert witnessed(api, 101)
        started[1].kill()
        started[1].wait()
        logged = paid(api, 102)
        assert api.ask("GET", f"/v1/transfers/{ids.show(102)}/receipt?grade=witnessed").status == 503
        path.write_bytes(logged)
        assert not audit("verify", path, "--policy", policy)[1]["verified"]  # logged is no longer enough for it

        stack.enter_context(witness(folders[1], ports[1], "w1.example"))  # it comes back, and remembers
        path.write_bytes(witnessed(api, 102))
        assert audit("verify", path, "--policy", policy)[1]["verified"]
        assert api.ask("GET", f"/v1/transfers/{ids.show(102)}/receipt?grade=best").status == 400


def pay_key(instance):
    key = auth.make_key(os.urandom)
    auth.add_key(instance.folder / "keys.json", key, 1, "auditor", [auth.READ, auth.PAY, auth.AUDIT], 1)
    api = Api(instance.url, key)
    until(lambda: api.ask("GET", f"/v1/accounts/{ids.show(1)}").status == 404)
    return api


def witnessed(api, number):
    path = f"/v1/transfers/{ids.show(number)}/receipt?grade=witnessed"
    for _ in range(600):
        answer = api.ask("GET", path)
        if answer.status == 200:
            return answer.body
        pause(0.1)
    pytest.fail("was not witnessed within a minute")
