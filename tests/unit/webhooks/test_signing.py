"""Signatures of webhooks: the specification's vector, its reference library, and all that must be refused."""

import base64
import json
from datetime import UTC, datetime

import pytest
import standardwebhooks
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from tallystick.errors import Invalid, InvalidProof
from tallystick.webhooks import signing

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
ID = "msg_p5jXN8AQM9LWM0D4loKWxJek"
AT = 1_614_265_330
BODY = b'{"test": 2432232314}'
PRIVATE = signing.PrivateKey(Ed25519PrivateKey.from_private_bytes(bytes(range(32))))


def headers(*signers, webhook_id=ID, at=AT, body=BODY):
    return signing.sign(signers, webhook_id, at, body)


def test_the_vector_of_the_specification():
    made = headers(signing.signer(SECRET))
    assert made == {
        "webhook-id": ID,
        "webhook-timestamp": "1614265330",
        "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    }
    assert signing.verify([signing.verifier(SECRET)], made, BODY, AT) == ID


def test_the_reference_library_verifies_what_we_sign():
    now = int(datetime.now(UTC).timestamp())
    made = headers(signing.signer(SECRET), PRIVATE, at=now)
    assert standardwebhooks.Webhook(SECRET).verify(BODY, made) == json.loads(BODY)


def test_we_verify_what_the_reference_library_signs():
    signature = standardwebhooks.Webhook(SECRET).sign(ID, datetime.fromtimestamp(AT, UTC), BODY.decode())
    sent = {"Webhook-Id": ID, "Webhook-Timestamp": str(AT), "Webhook-Signature": signature}
    assert signing.verify([signing.verifier(SECRET)], sent, BODY, AT) == ID


def test_an_ed25519_signature_is_verified_by_the_public_key_alone():
    made = headers(PRIVATE)
    assert made["webhook-signature"].startswith("v1a,")
    public = signing.verifier(str(PRIVATE.public))
    assert str(public).startswith("whpk_")
    assert signing.verify([public], made, BODY, AT) == ID
    with pytest.raises(InvalidProof):
        signing.verify([public], made, BODY + b" ", AT)


def test_while_a_secret_is_rotated_either_one_verifies():
    old, new = signing.signer(SECRET), signing.SharedSecret(bytes(32))
    made = headers(new, old)
    for key in (SECRET, str(new)):
        assert signing.verify([signing.verifier(key)], made, BODY, AT) == ID
    with pytest.raises(InvalidProof):
        signing.verify([signing.SharedSecret(bytes(31) + b"1")], made, BODY, AT)


@pytest.mark.parametrize(
    "change",
    [
        {"webhook-id": "msg_other"},
        {"webhook-timestamp": str(AT + 1)},
        {"webhook-signature": "v1,h0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="},
        {"webhook-signature": "v1a,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="},
        {"webhook-signature": "v1,"},
        {"webhook-signature": "v1,!!!"},
        {"webhook-signature": "nonsense"},
        {"webhook-id": ""},
        {"webhook-timestamp": ""},
        {"webhook-signature": ""},
        {"webhook-timestamp": f"{AT}.0"},
        {"webhook-timestamp": f"+{AT}"},
        {"webhook-timestamp": "٣"},
    ],
)
def test_a_changed_header_is_refused(change):
    with pytest.raises(InvalidProof):
        signing.verify([signing.verifier(SECRET)], {**headers(signing.signer(SECRET)), **change}, BODY, AT)


def test_another_body_is_refused():
    with pytest.raises(InvalidProof):
        signing.verify([signing.verifier(SECRET)], headers(signing.signer(SECRET)), b'{"test": 1}', AT)


@pytest.mark.parametrize(("off", "fits"), [(-300, True), (300, True), (-300.5, False), (301, False)])
def test_a_webhook_is_taken_within_five_minutes_either_way(off, fits):
    made = headers(signing.signer(SECRET))
    if fits:
        assert signing.verify([signing.verifier(SECRET)], made, BODY, AT + off) == ID
    else:
        with pytest.raises(InvalidProof, match="from now"):
            signing.verify([signing.verifier(SECRET)], made, BODY, AT + off)


def test_a_header_of_a_thousand_signatures_costs_no_more_than_a_few_checks():
    made = headers(signing.signer(SECRET))
    wrong = "v1," + base64.b64encode(bytes(32)).decode()
    made["webhook-signature"] = " ".join([wrong] * 1000 + [made["webhook-signature"]])
    with pytest.raises(InvalidProof):
        signing.verify([signing.verifier(SECRET)], made, BODY, AT)


def test_no_key_verifies_nothing():
    with pytest.raises(InvalidProof):
        signing.verify([], headers(signing.signer(SECRET)), BODY, AT)


def test_a_private_key_is_read_with_and_without_its_public_half():
    seed = bytes(range(32))
    public = PRIVATE.public.key.public_bytes_raw()
    for raw in (seed, seed + public):
        assert str(signing.signer("whsk_" + base64.b64encode(raw).decode())) == str(PRIVATE)
    with pytest.raises(Invalid, match="another's"):
        signing.signer("whsk_" + base64.b64encode(seed + bytes(32)).decode())


@pytest.mark.parametrize(
    "text",
    ["", "whsec_", "whsec_AAAA", "whsec_" + "A" * 120, "whsec_!" + "A" * 43, "whsk_AAAA", "whpk_AAAA", "secret"],
)
def test_what_is_no_key_is_refused_and_not_shown(text):
    for read in (signing.signer, signing.verifier):
        with pytest.raises(Invalid, match="secret") as refused:
            read(text)
        assert not text[6:] or text[6:] not in str(refused.value)


def test_a_receiver_is_told_when_it_was_given_the_private_key():
    with pytest.raises(Invalid, match="whpk_"):
        signing.verifier(str(PRIVATE))


def test_a_secret_stands_in_no_repr():
    for key in (signing.signer(SECRET), PRIVATE):
        assert str(key).split("_", 1)[1] not in repr(key)
    assert "MfKQ" not in repr(signing.signer(SECRET))
    assert repr(signing.signer(SECRET).secret) not in repr(signing.signer(SECRET))
