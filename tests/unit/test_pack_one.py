"""The gateway's way of packing a single payment and the way of batches give the same bytes."""

from hypothesis import given
from hypothesis import strategies as st

from tallystick.records.commands import Kind, fingerprint, frame, pack_one

U64 = st.integers(0, 2**64 - 1)


@given(
    event=st.binary(min_size=128, max_size=128),
    kind=st.sampled_from([Kind.TRANSFER, Kind.ACCOUNT, Kind.CONTROL]),
    tenant=U64,
    request_id=st.integers(0, 2**128 - 1),
    submitted_at=U64,
    expires_at=U64,
    metadata=st.one_of(st.just(b""), st.binary(min_size=32, max_size=32)),
)
def test_pack_one_gives_the_bytes_of_frame(
    event: bytes, kind: Kind, tenant: int, request_id: int, submitted_at: int, expires_at: int, metadata: bytes
) -> None:
    record, digest = pack_one(event, kind, tenant, request_id, submitted_at, expires_at, metadata)
    assert record == frame(event, kind, tenant, request_id, submitted_at, expires_at, metadata).tobytes()
    assert digest == fingerprint(kind, 1, event, metadata)
