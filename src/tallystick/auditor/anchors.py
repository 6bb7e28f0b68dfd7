"""Anchors: a time-stamping authority that is not ours says when a checkpoint was there (RFC 3161).

Whoever has checkpoint, answer and the authority's root certificate can check it, with `openssl ts -verify` too. A
history that was rewritten later, and signed with the true key, does not have the root that was anchored.
"""

from datetime import datetime
from pathlib import Path

import urllib3
import urllib3.exceptions
from cryptography import x509

from tallystick.errors import Invalid, InvalidProof, Unavailable

CHECKPOINT, STAMP = ".checkpoint", ".tsr"
TIMEOUT_S = 30.0
ANSWER_BYTES_MAX = 65_536
_QUERY, _REPLY = "application/timestamp-query", "application/timestamp-reply"


def ask(url: str, checkpoint: bytes) -> bytes:
    """The authority's answer about these bytes, in DER; not verified beyond that it is about them.

    Raises `Unavailable` if it does not answer, or does not grant it.
    """
    from rfc3161_client import HashAlgorithm, TimestampRequestBuilder, decode_timestamp_response

    request = TimestampRequestBuilder().data(checkpoint).hash_algorithm(HashAlgorithm.SHA256).build()
    try:
        answer = urllib3.request(
            "POST",
            url,
            body=request.as_bytes(),
            headers={"content-type": _QUERY},
            timeout=TIMEOUT_S,
            retries=False,
            preload_content=False,
        )
        data = answer.read(ANSWER_BYTES_MAX + 1)
        answer.release_conn()
    except (urllib3.exceptions.HTTPError, OSError) as error:
        raise Unavailable(f"{url} does not answer: {type(error).__name__}") from error
    if answer.status != 200 or answer.headers.get("content-type", "") != _REPLY or len(data) > ANSWER_BYTES_MAX:
        raise Unavailable(f"{url} answers {answer.status}, which is no time stamp")
    try:
        stamp = decode_timestamp_response(data)
        if stamp.status != 0 or stamp.tst_info.nonce != request.nonce:
            raise Unavailable(f"{url} does not grant a time stamp, or gives that of another question")
    except ValueError as error:
        raise Unavailable(f"{url} answers with no time stamp: {error}") from error
    return data


def verify(stamp: bytes, checkpoint: bytes, roots: bytes) -> datetime:
    """When the authority says that it saw this checkpoint. `roots`: certificates in PEM that are believed.

    Raises `InvalidProof` if it does not hold, `Invalid` for certificates that cannot be read.
    """
    from rfc3161_client import VerificationError, VerifierBuilder, decode_timestamp_response

    try:
        certificates = x509.load_pem_x509_certificates(roots)
    except ValueError as error:
        raise Invalid("roots", f"holds no certificates in PEM: {error}") from error
    builder = VerifierBuilder()
    for certificate in certificates:
        builder = builder.add_root_certificate(certificate)
    try:
        answer = decode_timestamp_response(stamp)
        builder.build().verify_message(answer, checkpoint)
    except (ValueError, VerificationError) as error:
        raise InvalidProof(f"the time stamp does not hold: {error}") from error
    return answer.tst_info.gen_time


def store(folder: Path, size: int, checkpoint: bytes, stamp: bytes) -> Path:
    """Put both into a folder, by the tree's size; returns the stamp's path. What is there already is left alone."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{size:020d}"
    for suffix, data in ((CHECKPOINT, checkpoint), (STAMP, stamp)):
        with path.with_suffix(suffix).open("xb") as file:
            file.write(data)
    return path.with_suffix(STAMP)
