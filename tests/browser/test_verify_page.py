"""The page that verifies receipts, in a real Chromium without a head: a good receipt is verified, a bad one refused
with its line and byte, as `tally audit verify` does; and it can ask no server. `make chromium` gets what it needs.
"""

import base64
import http.server
import importlib.util
import re
import shutil
import threading
from functools import partial
from random import Random

import numpy as np
import pytest

from tallystick import statuses
from tallystick.cli.entry_shown import shown
from tallystick.errors import InvalidProof
from tallystick.records import commitments, openings
from tallystick.records.commands import Kind
from tallystick.records.entries import ENTRY
from tallystick.tlog import receipts
from tallystick.tlog.keys import Kind as KeyKind
from tallystick.tlog.merkle import leaf_hash
from tallystick.tlog.notes import Note, signature
from tallystick.tlog.policies import parse_policy
from tallystick.tlog.receipts import Receipt, parse_receipt
from tests.docs.pages import ROOT
from tests.judges.logs import LOG_KEYS, ORIGIN, make_log
from tests.unit.tlog.trees import key

SIZE, INDEX = 70_000, 65_536
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"]
WITNESSES = [
    key("w1.example", KeyKind.ED25519_COSIGNATURE, 3),
    key("w2.example", KeyKind.ED25519_COSIGNATURE, 4),
    key("w3.example", KeyKind.ED25519_COSIGNATURE, 5),
]
LOGS = "".join(f"log {found.verifier.vkey}\n" for found in LOG_KEYS)
LOGGED = LOGS + "quorum none\n"
WITNESSED = (
    LOGS
    + "".join(f"witness w{number} {found.verifier.vkey}\n" for number, found in enumerate(WITNESSES))
    + "group two 2 w0 w1 w2\nquorum two\n"
)


def generated():
    spec = importlib.util.spec_from_file_location("generate", ROOT / "docs" / "generate.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.verifier()


def test_the_page_is_one_file_that_may_ask_nobody():
    text = (ROOT / "docs" / "pages" / "verify-receipt.html").read_text(encoding="utf-8")
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', text)[1]
    assert policy.startswith("default-src 'none'; script-src 'sha256-")
    assert "unsafe" not in policy
    assert not re.search(r"https?://", text)
    assert not re.search(r"\b(src|href)=", text)


@pytest.fixture(scope="module")
def browser():
    driver = pytest.importorskip("playwright.sync_api", reason="SKIPPED: no Playwright; `make chromium` gets it")
    path = shutil.which("chromium")
    if path is None:
        pytest.skip("SKIPPED: no Chromium on this machine, so no browser has tried the page; `make chromium` gets it")
    with driver.sync_playwright() as running:
        chromium = running.chromium.launch(executable_path=path, args=FLAGS)
        yield chromium
        chromium.close()


@pytest.fixture(scope="module")
def page_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("page") / "verify-receipt.html"
    path.write_text(generated(), encoding="utf-8")
    return path


@pytest.fixture
def page(browser, page_file):
    """The page from a disk, and what it asked for."""
    found = browser.new_page()
    found.asked, found.errors = [], []
    found.on("request", lambda request: found.asked.append(request.url))
    found.on("pageerror", lambda error: found.errors.append(str(error)))
    found.goto(page_file.as_uri())
    yield found
    assert found.errors == []
    assert [url for url in found.asked if not url.startswith("file://")] == []
    found.close()


@pytest.fixture(scope="module")
def receipt(tmp_path_factory):
    """A receipt of a log that our own code made, with the cosignatures of three witnesses."""
    log = make_log(tmp_path_factory.mktemp("log"), SIZE)
    found = parse_receipt(log.reader.receipt(INDEX, openings.pack))
    lines = [signature(found.checkpoint.text, each, 1_700_000_000) for each in WITNESSES]
    note = Note(found.checkpoint.text, (*found.checkpoint.signatures, *lines))
    return Receipt(found.index, found.hashes, note, found.extra).encode()


def ours(data, policy):
    """What `tally audit verify` finds: the grade, or None if it refuses."""
    try:
        found = parse_receipt(data)
        believed = receipts.verify(found, leaf_hash(openings.unpack(found.extra)), parse_policy(policy))
        openings.text(found.extra)
    except InvalidProof:
        return None
    return "witnessed" if believed.witnessed else "logged"


ASK = """async ([data, policy]) => {
    try {
        const found = await verify(Uint8Array.from(atob(data), (sign) => sign.charCodeAt(0)), policy);
        return { grade: found.grade };
    } catch (error) {
        return { refused: error instanceof Refused, why: error.message, line: error.line, byte: error.byte };
    }
}"""


def asked(page, data, policy):
    return page.evaluate(ASK, [base64.b64encode(data).decode(), policy])


def dropped(page, data, policy, name="payment.tlog-proof"):
    """As a person does it: the policy pasted, the file dropped on the page."""
    page.fill("#policy", policy)
    transfer = page.evaluate_handle(
        """([data, name]) => {
            const found = new DataTransfer();
            found.items.add(new File([Uint8Array.from(atob(data), (sign) => sign.charCodeAt(0))], name));
            return found;
        }""",
        [base64.b64encode(data).decode(), name],
    )
    page.dispatch_event("body", "drop", {"dataTransfer": transfer})
    page.locator("#verdict:not(:empty)").wait_for()
    return page.inner_text("#verdict")


@pytest.mark.service
@pytest.mark.parametrize(("policy", "grade"), [(LOGGED, "logged"), (WITNESSED, "witnessed")])
def test_a_good_receipt_that_is_dropped_is_verified(page, receipt, policy, grade):
    said = dropped(page, receipt, policy)
    assert said == f"VERIFIED: entry {INDEX} is in the log {ORIGIN}, grade {grade}"
    rows = dict(line.split("\t") for line in page.inner_text("#entry").splitlines())
    assert rows == shown(openings.unpack(parse_receipt(receipt).extra))
    assert page.inner_text("#signed").count("signed by") + page.inner_text("#signed").count("not checked") == (
        2 if grade == "logged" else 5
    )


@pytest.mark.service
def test_a_bad_receipt_is_refused_and_its_line_shown(page, receipt):
    at = receipt.index(b"index ") + 30  # in the first hash of the proof
    bad = receipt[:at] + b"!" + receipt[at + 1 :]
    line = bad[:at].count(b"\n") + 1
    said = dropped(page, bad, LOGGED)
    assert said == f"NOT VERIFIED: line {line}, byte {at}: a hash of the proof is not base64"
    assert page.inner_text("#text .failed") == bad.split(b"\n")[line - 1].decode()
    assert page.inner_text("#entry") == ""
    page.reload()
    other = b"A" if receipt[at : at + 1] != b"A" else b"B"
    said = dropped(page, receipt[:at] + other + receipt[at + 1 :], LOGGED)
    root = receipt.index(f"\n{SIZE}\n".encode()) + len(f"\n{SIZE}\n")
    assert said.startswith(f"NOT VERIFIED: line {receipt[:root].count(10) + 1}, byte {root}: the entry in line 2")


@pytest.mark.service
def test_the_page_served_by_a_site_does_the_same_and_can_ask_nobody(browser, page_file, receipt):
    handler = partial(http.server.SimpleHTTPRequestHandler, directory=str(page_file.parent))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        origin = f"http://127.0.0.1:{server.server_address[1]}"
        page = browser.new_page()
        answered = []
        page.on("response", lambda response: answered.append(response.url))
        page.goto(f"{origin}/verify-receipt.html")
        assert dropped(page, receipt, WITNESSED).startswith("VERIFIED")
        # Even its own server: the policy in the page stops it before it leaves.
        told = page.evaluate("(url) => fetch(url).then(() => 'asked', (error) => error.name)", f"{origin}/")
        assert told == "TypeError"
        assert (
            page.evaluate(
                "() => new Promise((done) => { const i = new Image(); i.onerror = () => done('stopped');"
                " i.onload = () => done('asked'); i.src = '/favicon.ico?x'; })"
            )
            == "stopped"
        )
        assert [url for url in answered if "favicon" not in url] == [f"{origin}/verify-receipt.html"]
        page.close()
        server.shutdown()


def tampered(receipt):
    """The receipt in many wrong ways: in each line a character changed, doubled, gone; lines gone, doubled, swapped."""
    random = Random(1)
    lines = receipt.split(b"\n")
    for number, line in enumerate(lines):
        before, after = b"\n".join([*lines[:number], b""]), b"\n".join([b"", *lines[number + 1 :]])
        if number + 1 == len(lines):
            after = b""
        for _ in range(3 if line else 0):
            at = random.randrange(len(line))
            for change in (b"A", b"/", b"=", b" ", b"\r", b"\x00", b"0", b"\xff", line[at : at + 1] * 2, b""):
                yield before + line[:at] + change + line[at + 1 :] + after
        yield b"\n".join([*lines[:number], *lines[number + 1 :]])
        yield b"\n".join([*lines[:number], line, *lines[number:]])
        if number + 1 < len(lines):
            yield b"\n".join([*lines[:number], lines[number + 1], line, *lines[number + 2 :]])
    yield receipt.replace(b"\n", b"\r\n")
    yield receipt[:-1]
    yield receipt + b"\n"
    yield b""
    index, size = f"index {INDEX}".encode(), f"\n{SIZE}\n".encode()
    for other in (
        b"index 065536",
        b"index +65536",
        b"index -1",
        b"index 65537",
        b"index 70000",
        b"index 9" + b"9" * 30,
    ):
        yield receipt.replace(index, other)
    for other in (b"\n070000\n", b"\n69999\n", b"\n70001\n", b"\n0\n", b"\n70000 \n"):
        yield receipt.replace(size, other)
    yield receipt.replace(b"@v1", b"@v2")


@pytest.fixture
def checked(page):
    """Takes out of a policy what this browser cannot check: of those that know no ML-DSA-44 only the rest is asked."""
    known = page.evaluate(
        "(key) => crypto.subtle.importKey('raw-public', Uint8Array.from(key), 'ML-DSA-44', false, ['verify'])"
        ".then(() => true, () => false)",
        list(LOG_KEYS[1].verifier.public),
    )
    return lambda policy: policy if known else policy.replace(f"log {LOG_KEYS[1].verifier.vkey}\n", "")


@pytest.mark.service
def test_the_page_finds_what_our_own_verifier_finds_in_receipts_of_every_kind(page, receipt, checked):
    counted = {True: 0, False: 0}
    for policy in map(checked, (LOGGED, WITNESSED)):
        assert asked(page, receipt, policy) == {"grade": ours(receipt, policy)}
        for data in tampered(receipt):
            found, expected = asked(page, data, policy), ours(data, policy)
            assert found.get("grade") == expected, (found, data)
            counted[expected is not None] += 1
            if expected is None:
                assert found["refused"], found
                # A place in the receipt, whose line it is.
                assert 0 <= found["byte"] <= len(data)
                assert found["line"] == data[: found["byte"]].count(b"\n") + 1
    # What is in a line of a witness that is not asked about, for one, may be anything.
    assert counted[False] > 1000
    assert counted[True] > 10


@pytest.mark.service
def test_a_log_that_is_believed_cannot_sign_for_another(page, receipt):
    found, other = parse_receipt(receipt), key("other.example/log", seed=9)
    signed_by_other = Note(found.checkpoint.text, (signature(found.checkpoint.text, other, 0),))
    data = Receipt(found.index, found.hashes, signed_by_other, found.extra).encode()
    policy = f"log {other.verifier.vkey}\nquorum none\n"
    assert ours(data, policy) is None
    assert asked(page, data, policy)["why"].startswith(f"no key of the log {ORIGIN}")


@pytest.mark.service
def test_policies_are_read_as_ours_are(page, receipt, checked):
    lines = WITNESSED.splitlines()
    policies = ["", LOGS, LOGGED + "quorum none\n", LOGGED + "\n# said\n\n", WITNESSED.replace("two 2", "two 4")]
    policies += [WITNESSED.replace("two 2", f"two {wanted}") for wanted in ("any", "all", "0", "3", "x", "02")]
    policies += ["\n".join([*lines[:number], *lines[number + 1 :]]) for number in range(len(lines))]
    policies += ["\n".join([*lines[:number], line, *lines[number:]]) for number, line in enumerate(lines)]
    policies += [LOGGED.replace(ORIGIN, "other.example/log"), LOGGED.replace("+A", "+B"), "\n".join(reversed(lines))]
    policies += [WITNESSED.replace("w1.example", "w4.example"), f"log {key(seed=9).verifier.vkey}\nquorum none\n"]
    for policy in map(checked, policies):
        try:
            expected = ours(receipt, policy)
        except InvalidProof:
            expected = None
        assert asked(page, receipt, policy).get("grade") == expected, policy


@pytest.mark.service
def test_the_page_reads_entries_as_we_do(page):
    random = Random(2)
    for kind in (*Kind, Kind.TRANSFER, Kind.TRANSFER):
        entry = bytearray(random.randbytes(254))
        entry[0] = kind
        entry[22:30] = (1_700_000_000_123_456_789).to_bytes(8, "little")
        for status in (statuses.stored(statuses.TransferStatus.CREATED), 54, 64_000):
            entry[4:6] = status.to_bytes(2, "little")
            found = page.evaluate("(data) => shown(Uint8Array.from(data))", list(entry))
            assert dict(found) == shown(bytes(entry))


TEXT = {"reference": commitments.Opening(b"s" * 32, "Miete, März"), "debtor": commitments.Opening(b"t" * 32, "Ada")}
EURO = openings.Currency("EUR", 2, 17)
READ = """async ([line, number]) => {
    try {
        const found = opening({ text: line, number, byte: 0 });
        await checkText(found);
        return { text: Object.fromEntries(Object.entries(found.text).map(([name, each]) => [name, each.value])),
                 currency: found.currency };
    } catch (error) {
        return { refused: error instanceof Refused };
    }
}"""


def entry_with(commitment):
    rows = np.zeros(1, ENTRY)
    rows["metadata"] = np.frombuffer(commitment, "<u8")
    return rows.tobytes()[2:]


@pytest.mark.service
@pytest.mark.parametrize("text", [{}, TEXT, {"debtor": TEXT["debtor"]}], ids=["none", "two fields", "one field"])
@pytest.mark.parametrize("currency", [None, EURO])
def test_text_and_currency_are_read_as_ours_are(page, text, currency):
    entry = entry_with(commitments.commit_all(text) if text else bytes(32))
    good = openings.pack(entry, text, currency)
    shown_text = {name: found.value for name, found in text.items()}
    euro = {"code": "EUR", "scale": 2, "control": 17}
    assert openings.text(good) == shown_text
    assert read(page, good) == {"text": shown_text, "currency": euro if currency else None}
    others = [
        openings.pack(entry, {**text, "more": commitments.Opening(b"u" * 32, "x")}, currency),
        good.replace(b"}", b',"other":1}', 1) if text else good[:-1] + b',"other":1}',
        good.replace(b'"v":1', b'"v":2'),
        good.replace(b'"v":1', b'"v":"1"'),
    ]
    if text:
        others += [good.replace(b"Ada", b"Eva"), good.replace(b'"debtor"', b'"debtors"')]
    if currency:
        others += [good.replace(b'"scale":2', b'"scale":"2"'), good.replace(b',"control":17', b"")]
    for other in others:
        try:
            openings.text(other)
        except InvalidProof:
            assert read(page, other) == {"refused": True}, other
        else:
            assert "refused" not in read(page, other), other


def read(page, extra):
    return page.evaluate(READ, ["extra " + base64.b64encode(extra).decode(), 2])
