import pytest

from tallystick.client import InvalidProof, verify_webhook
from tallystick.webhooks import signing


def test_a_webhook_is_verified_by_the_keys_of_its_subscription() -> None:
    secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
    body = b'{"type": "transfer.created"}'
    headers = signing.sign([signing.signer(secret)], "msg_1", 1_700_000_000, body)
    clock = StandingClock()
    found = verify_webhook(body, headers, "whsec_" + "A" * 32, secret, clock=clock)
    assert (found.id, found.body) == ("msg_1", {"type": "transfer.created"})
    with pytest.raises(InvalidProof):
        verify_webhook(body.replace(b"created", b"refused"), headers, secret, clock=clock)
    with pytest.raises(InvalidProof, match="from now"):
        verify_webhook(body, headers, secret)
    with pytest.raises(InvalidProof, match="no JSON object"):
        verify_webhook(b"[1]", signing.sign([signing.signer(secret)], "m", 1_700_000_000, b"[1]"), secret, clock=clock)


class StandingClock:
    def wall_ns(self) -> int:
        return 1_700_000_000 * 10**9

    def monotonic_ns(self) -> int:
        return 0
