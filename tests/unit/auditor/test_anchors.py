"""Anchors by a real time-stamping authority: OpenSSL's, behind HTTP. Skipped where there is no openssl."""

import shutil
import subprocess
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from tallystick.auditor import anchors
from tallystick.errors import Invalid, InvalidProof, Unavailable

pytestmark = pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not on this machine")

CHECKPOINT = b"bank.example/0\n5\nroot\n\n"
CONFIG = """
[tsa]
dir = .
serial = serial
signer_cert = tsa.pem
signer_key = tsa.key
signer_digest = sha256
default_policy = 1.2.3.4
digests = sha256
ess_cert_id_alg = sha256
ess_cert_id_chain = no
tsa_name = no
ordering = no
"""


class Authority:
    def __init__(self, folder, url):
        self.folder, self.url = folder, url

    def root(self, name="root"):
        return (self.folder / f"{name}.pem").read_bytes()


def openssl(folder, *words):
    return subprocess.run(["openssl", *words], cwd=folder, check=True, capture_output=True).stdout


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    """A root, an authority certified by it, and its server."""
    folder = tmp_path_factory.mktemp("tsa")
    (folder / "config").write_text(CONFIG)
    (folder / "serial").write_text("01")
    key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2")
    for name in ("root", "stranger"):
        openssl(folder, "req", "-x509", *key, "-keyout", f"{name}.key", "-out", f"{name}.pem", "-subj", f"/CN={name}")
    openssl(folder, "req", *key[:5], "-keyout", "tsa.key", "-out", "tsa.csr", "-subj", "/CN=tsa")
    (folder / "usage").write_text("extendedKeyUsage = critical,timeStamping")
    certify = ("-CA", "root.pem", "-CAkey", "root.key", "-CAcreateserial", "-days", "2", "-extfile", "usage")
    openssl(folder, "x509", "-req", "-in", "tsa.csr", "-out", "tsa.pem", *certify)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            query = self.rfile.read(int(self.headers["content-length"]))
            (folder / "query").write_bytes(query)
            reply = openssl(folder, "ts", "-reply", "-config", "config", "-section", "tsa", "-queryfile", "query")
            self.send_response(404 if self.path == "/gone" else 200)
            self.send_header("content-type", "application/timestamp-reply")
            self.send_header("content-length", str(len(reply)))
            self.end_headers()
            self.wfile.write(reply)

        def log_message(self, *args):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    url = f"http://127.0.0.1:{server.server_port}"
    yield Authority(folder, url)
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="module")
def stamp(authority):
    return anchors.ask(authority.url, CHECKPOINT)


def test_an_anchor_says_when_a_checkpoint_was_there(authority, stamp):
    roots = authority.root()
    assert anchors.verify(stamp, CHECKPOINT, roots).year >= 2024


def test_openssl_verifies_it_without_us(authority, stamp, tmp_path):
    path = anchors.store(tmp_path / "anchors", 5, CHECKPOINT, stamp)
    data = path.with_suffix(anchors.CHECKPOINT)
    said = openssl(authority.folder, "ts", "-verify", "-data", str(data), "-in", str(path), "-CAfile", "root.pem")
    assert said == b"" or b"OK" in said
    with pytest.raises(FileExistsError):
        anchors.store(tmp_path / "anchors", 5, CHECKPOINT, stamp)


def test_another_checkpoint_another_root_or_a_changed_stamp_is_refused(authority, stamp):
    roots = authority.root()
    changed = bytearray(stamp)
    changed[-5] ^= 1
    for wrong in (
        (stamp, CHECKPOINT.replace(b"5", b"6"), roots),
        (stamp, CHECKPOINT, authority.root("stranger")),
        (bytes(changed), CHECKPOINT, roots),
        (b"nothing", CHECKPOINT, roots),
    ):
        with pytest.raises(InvalidProof):
            anchors.verify(*wrong)
    with pytest.raises(Invalid, match="roots"):
        anchors.verify(stamp, CHECKPOINT, b"no certificate")


def test_an_authority_that_is_away_or_says_no_is_told(authority):
    for url in (f"{authority.url}/gone", "http://127.0.0.1:9"):
        with pytest.raises(Unavailable):
            anchors.ask(url, CHECKPOINT)
