"""Where a webhook may go: never into our own network (server-side request forgery).

Two looks, and both count. `check_url` refuses early and says why, when a tenant writes the URL. `Guard` looks at the
address that is about to be connected to, at the one place where sockets are made, so that no name, no second answer of
a name server, no unusual spelling of a number and no later change of the URL gets round it.

Sources: IANA IPv4 and IPv6 Special-Purpose Address Registries; RFC 6052 (NAT64), RFC 4291 §2.5.5, OWASP SSRF.
"""

import ipaddress
import socket
from collections.abc import Sequence
from typing import Any, TypeAlias
from urllib.parse import SplitResult, urlsplit

from tallystick.errors import Invalid

URL_CHARACTERS_MAX = 2048
IpAddress: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address

_NEVER = tuple(
    ipaddress.ip_network(network)
    for network in (
        # What `is_global` of some Python in use lets through, and what carries an IPv4 address in disguise.
        "192.0.0.0/24",
        "192.88.99.0/24",  # 6to4 relays
        "::/96",  # IPv4-compatible
        "::ffff:0:0/96",  # IPv4-mapped
        "::ffff:0:0:0/96",  # IPv4-translated
        "64:ff9b::/96",  # NAT64
        "64:ff9b:1::/48",  # NAT64 of a local network
        "100::/64",  # discarded
        "2001::/23",  # protocol assignments, Teredo among them
        "2001:db8::/32",
        "2002::/16",  # 6to4
        "3fff::/20",
        "5f00::/16",
        "fec0::/10",
    )
)


class Forbidden(OSError):
    """The address is one that no webhook goes to."""


def forbidden(address: IpAddress) -> bool:
    """Whether this is no public unicast address: private, loopback, link-local, multicast, reserved, translated, …"""
    return (
        not address.is_global
        or address.is_multicast
        or address.is_reserved
        or address.is_unspecified
        or any(address.version == network.version and address in network for network in _NEVER)
    )


class Guard:
    """Makes the sockets of the webhook client, or refuses to. `loopback`: let this machine's own addresses pass."""

    def __init__(self, loopback: bool) -> None:
        """`loopback` is for development: whoever can write a URL then reaches what listens on this machine."""
        self._loopback = loopback

    def check(self, host: str) -> None:
        """Raises `Forbidden` unless a connection may be made to this address, written as a number."""
        try:
            address = ipaddress.ip_address(host)
        except ValueError as error:
            raise Forbidden(f"{host} is no address") from error
        if forbidden(address) and not (self._loopback and address.is_loopback):
            raise Forbidden(f"{address} is no public address")

    def socket(self, found: Sequence[Any]) -> socket.socket:
        """A socket for this row of `getaddrinfo`, which the caller connects to exactly this address.

        Raises `Forbidden`.
        """
        family, kind, protocol, _, address = found
        self.check(address[0])
        return socket.socket(family, kind, protocol)


def check_url(url: str, loopback: bool) -> None:
    """Raises `Invalid` naming `url` unless webhooks may be sent there, as far as one can tell without asking a name
    server: `https`, a host, no credentials, no fragment; `http` only to this machine, where `loopback` allows that.
    """
    parts = _parsed(url)
    host = parts.hostname
    if not host:
        raise Invalid("url", "has no host")
    if parts.username is not None or parts.password is not None:
        raise Invalid("url", "must hold no credentials: webhooks are signed instead")
    if parts.fragment or "#" in url:
        raise Invalid("url", "must have no fragment")
    local = is_loopback(host)
    if parts.scheme != "https" and not (parts.scheme == "http" and local):
        raise Invalid("url", "must begin with https://")
    if local and not loopback:
        raise Invalid("url", "leads to this machine itself; for development set TALLY_WEBHOOK_LOOPBACK=true")
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return
    if forbidden(address) and not local:
        raise Invalid("url", "leads to an address that is not public")


def _parsed(url: str) -> SplitResult:
    if len(url) > URL_CHARACTERS_MAX:
        raise Invalid("url", f"may have {URL_CHARACTERS_MAX} characters")
    if not url.isascii() or not url.isprintable() or " " in url or "\\" in url:
        raise Invalid("url", "must be printable ASCII without blanks; write other characters as percent-encoded UTF-8")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise Invalid("url", "cannot be understood") from error
    if port == 0:
        raise Invalid("url", "has port 0")
    return parts


def is_loopback(host: str) -> bool:
    """Whether this host name or number stands for this machine, by its spelling."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.rstrip(".").lower() == "localhost"
