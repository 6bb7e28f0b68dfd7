"""The way to the signer, over a real socket."""

import socket
import threading

import pytest

from tallystick.blockfile.simulated import SimulatedDisk
from tallystick.errors import InvalidProof, Unavailable
from tallystick.signer.port import Stale
from tallystick.signer.sockets import SignerClient, SignerServer
from tests.unit.signer.test_signing import checkpoint, forked, proof, signing


@pytest.fixture
def client(tmp_path):
    server = SignerServer(tmp_path / "socket", signing(SimulatedDisk(1)))
    stop = threading.Event()

    def serve():
        while not stop.is_set():
            server.serve_one(0.05)

    thread = threading.Thread(target=serve)
    thread.start()
    yield SignerClient(tmp_path / "socket")
    stop.set()
    thread.join()
    server.close()


def test_what_the_signer_says_comes_through_the_socket(client):
    assert client.sign(0, [], checkpoint(300)).text == checkpoint(300).body
    with pytest.raises(Stale) as stale:
        client.sign(0, [], checkpoint(600))
    assert stale.value.size == 300
    with pytest.raises(InvalidProof, match="does not begin with"):
        client.sign(300, proof(300, 600), forked(600)[0])
    assert client.sign(300, proof(300, 600), checkpoint(600)).text == checkpoint(600).body


@pytest.mark.parametrize("junk", [b"", b"old\n\n", b"\xff" * 100, b"old 300\n\n\xff\n", b"old 0\n\nx"])
def test_junk_is_refused_and_the_signer_goes_on(client, tmp_path, junk):
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(str(tmp_path / "socket"))
        connection.sendall(junk)
        connection.shutdown(socket.SHUT_WR)
        assert connection.recv(100)[:4] == b"422\n"
    assert client.sign(0, [], checkpoint(300))


def test_without_a_signer_nothing_is_signed_now(tmp_path):
    with pytest.raises(Unavailable, match="does not answer"):
        SignerClient(tmp_path / "nobody").sign(0, [], checkpoint(300))


def test_only_its_owner_reaches_the_signer(client, tmp_path):
    assert (tmp_path / "socket").stat().st_mode & 0o777 == 0o600
