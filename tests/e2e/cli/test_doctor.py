"""`tally doctor` beside a running Tallystick, and on folders that are not well."""

import json
import socket

import pytest

from tallystick.cli import main
from tallystick.cli.exits import Exit
from tallystick.lab.instance import Instance, pause


def run(capsys, monkeypatch, data, port):
    monkeypatch.setenv("TALLY_HTTP_PORT", str(port))
    code = main.run(["doctor", "--data", str(data), "--json"])
    told = json.loads(capsys.readouterr().out)
    return code, {finding["check"]: finding for finding in told["findings"]}


@pytest.fixture
def free_port():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


def test_a_running_platform_is_examined_without_a_key_and_disturbed_by_nothing(instance, capsys, monkeypatch):
    instance.open_accounts([811], limited=False)
    before = {path: path.stat().st_mtime_ns for path in instance.folder.glob("journal/*")}
    code, found = run(capsys, monkeypatch, instance.folder, instance.port)
    assert code == Exit.DONE
    assert "entries, and the last block is whole" in found["journal"]["what"]
    assert found[f"port {instance.port}"]["what"] == "our gateway answers, and is ready"
    assert found["engine"]["level"] == found["gateway"]["level"] == "fine"
    assert found["clock"]["what"] == "fits the journal"
    assert found["keys"]["level"] == "fine"
    assert (found["archive"]["level"], "TALLY_ARCHIVE" in found["archive"]["fix"]) == ("look", True)
    monkeypatch.setenv("TALLY_ARCHIVE", str(instance.folder / "no-archive"))
    while instance.api().ask("GET", "/v1/log/checkpoint").status != 200:
        pause(0.05)
    code, found = run(capsys, monkeypatch, instance.folder, instance.port)
    assert (code, found["archive"]["level"]) == (Exit.REFUSED, "fix")  # something was signed, and is not there
    assert not (instance.folder / ".doctor").exists()
    assert {path: path.stat().st_mtime_ns for path in instance.folder.glob("journal/*")}.keys() == before.keys()


def test_what_is_broken_is_named_with_what_to_do(tmp_path, capsys, monkeypatch, free_port):
    data = tmp_path / "data"
    with Instance(data) as instance:
        instance.open_accounts([1, 2], limited=False)
    segment = data / "journal" / f"{0:020d}"
    damaged = bytearray(segment.read_bytes())
    damaged[300] ^= 1
    segment.write_bytes(damaged)
    (data / "keys.json").write_text("no keys")
    monkeypatch.setenv("TALLY_DATE", "tomorrow")
    with socket.create_server(("127.0.0.1", free_port)):
        code, found = run(capsys, monkeypatch, data, free_port)
    assert code == Exit.REFUSED
    broken = {name for name, finding in found.items() if finding["level"] == "fix"}
    assert {"journal", "keys", f"port {free_port}"} <= broken
    assert all(found[name]["fix"] for name in broken)
    assert "TALLY_DATE" in found["settings"]["what"]


def test_an_empty_place_is_no_failure(tmp_path, capsys, monkeypatch, free_port):
    _, found = run(capsys, monkeypatch, tmp_path / "none", free_port)
    assert "does not exist yet" in found["data folder"]["what"]
    assert found["journal"]["level"] == "fine"
    assert not (tmp_path / "none").exists()
