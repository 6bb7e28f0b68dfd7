"""Where a broker is, and how to be let in: `kafka://…` or `rabbitmq://…` of `TALLY_INTAKE`, understood.

    kafka://user:password@host:9093,other:9093/name?tls=on&ca=/etc/ca.crt

The name is what topics and queues begin with. Credentials may hold any character, percent-encoded.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from urllib.parse import parse_qsl, unquote, urlsplit

from tallystick.errors import Invalid

PORTS = {"kafka": (9092, 9092), "rabbitmq": (5672, 5671)}
"""By scheme: the port in clear, the port with TLS."""
OPTIONS = frozenset({"tls", "ca", "certificate", "key"})
"""What every broker understands: TLS on or off, and PEM files."""


@dataclass(frozen=True, slots=True)
class Address:
    """Of a cluster of brokers."""

    scheme: str
    hosts: tuple[tuple[str, int], ...]
    name: str
    user: str = ""
    password: str = field(default="", repr=False)
    options: Mapping[str, str] = field(default_factory=dict)

    @property
    def tls(self) -> bool:
        """Whether the connection is encrypted, and the broker's certificate checked."""
        return self.options.get("tls", "off") == "on"

    def __str__(self) -> str:
        hosts = ",".join(f"{host}:{port}" for host, port in self.hosts)
        return f"{self.scheme}://{hosts}/{self.name}"


def parse(url: str, setting: str, more_options: Collection[str] = (), marks: str = "-_") -> Address:
    """`marks`: what its name may hold beside letters and digits.

    Raises `Invalid` that names the `setting` and what is wrong with it; the password is never told.
    """
    scheme, _, rest = url.partition("://")
    if scheme not in PORTS or not rest:
        raise Invalid(setting, f"begins with none of {', '.join(f'{name}://' for name in PORTS)}")
    login, _, after = rest.rpartition("@") if "@" in rest.split("/")[0] else ("", "", rest)
    user, _, password = login.partition(":")
    parts = urlsplit(f"//{after}")
    name = parts.path.strip("/") or "tally"
    if not all(letter.isalnum() or letter in marks for letter in name) or len(name) > 100:
        raise Invalid(
            setting, f"{name!r} is no name for topics or queues: letters, digits and {marks} only, at most 100"
        )
    options = dict(parse_qsl(parts.query, keep_blank_values=True))
    known = OPTIONS | set(more_options)
    if unknown := sorted(options.keys() - known):
        raise Invalid(setting, f"?{unknown[0]} is not known; there are {', '.join(sorted(known))}")
    if options.get("tls", "off") not in ("on", "off"):
        raise Invalid(setting, "?tls is on or off")
    port = PORTS[scheme][options.get("tls") == "on"]
    hosts = tuple(_host(each, port, setting) for each in parts.netloc.split(","))
    return Address(scheme, hosts, name, unquote(user), unquote(password), options)


def _host(text: str, port: int, setting: str) -> tuple[str, int]:
    host, _, number = text.rpartition(":") if ":" in text and not text.endswith("]") else (text, "", "")
    if not host:
        raise Invalid(setting, "names no host")
    if number and not (number.isdigit() and 0 < int(number) < 65536):
        raise Invalid(setting, f"{number} is no port")
    return host.strip("[]"), int(number) if number else port
