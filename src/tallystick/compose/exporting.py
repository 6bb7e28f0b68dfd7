"""Where `tally audit export` writes to: a folder, or `s3://BUCKET/PREFIX` in a store that speaks S3."""

from pathlib import Path
from urllib.parse import urlsplit

from tallystick.auditor.bucket import Bucket, Credentials
from tallystick.auditor.places import Folder, Place
from tallystick.clock import SystemClock
from tallystick.errors import Invalid

SCHEME = "s3"


def place(where: str, endpoint: str, access_key: str, secret_key: str, region: str) -> Place:
    """The place that `where` names. Raises `Invalid` naming what a bucket wants and was not given."""
    parts = urlsplit(where)
    if parts.scheme != SCHEME:
        return Folder(Path(where))
    if not parts.netloc:
        raise Invalid("PLACE", f"{where!r} names no bucket; write s3://BUCKET/PREFIX")
    for name, value in (("--endpoint", endpoint), ("--access-key", access_key), ("--secret-file", secret_key)):
        if not value:
            raise Invalid(name, "a bucket wants one")
    return Bucket(
        endpoint, parts.netloc, parts.path, Credentials(access_key, secret_key, region), SystemClock().wall_ns
    )
