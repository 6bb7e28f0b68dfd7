"""No webhook goes into our own network, by whatever name or number."""

import ipaddress
import socket

import pytest

from tallystick.errors import Invalid
from tallystick.notifier.addresses import Forbidden, Guard, check_url, forbidden

INSIDE = [
    "0.0.0.0",
    "0.1.2.3",
    "10.0.0.1",
    "100.64.0.1",
    "127.0.0.1",
    "127.255.255.254",
    "169.254.169.254",
    "172.16.0.1",
    "172.31.255.255",
    "192.0.0.1",
    "192.0.2.1",
    "192.88.99.1",
    "192.168.1.1",
    "198.18.0.1",
    "198.51.100.1",
    "203.0.113.1",
    "224.0.0.1",
    "239.255.255.250",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "::7f00:1",
    "::ffff:127.0.0.1",
    "::ffff:10.0.0.1",
    "::ffff:8.8.8.8",
    "::ffff:0:127.0.0.1",
    "64:ff9b::7f00:1",
    "64:ff9b::808:808",
    "64:ff9b:1::1",
    "100::1",
    "2001::1",
    "2001:db8::1",
    "2002:7f00:1::",
    "3fff::1",
    "5f00::1",
    "fc00::1",
    "fd12:3456::1",
    "fe80::1",
    "fe80::1%eth0",
    "fec0::1",
    "ff02::1",
]
PUBLIC = ["8.8.8.8", "1.1.1.1", "172.15.255.255", "172.32.0.1", "2606:4700:4700::1111", "2a00:1450:4001::1"]


@pytest.mark.parametrize("address", INSIDE)
def test_an_address_inside_is_refused(address):
    assert forbidden(ipaddress.ip_address(address))
    with pytest.raises(Forbidden):
        Guard(loopback=False).check(address)
    host = f"[{address}]" if ":" in address else address
    with pytest.raises(Invalid, match="url"):
        check_url(f"https://{host}/hook", loopback=False)


@pytest.mark.parametrize("address", PUBLIC)
def test_a_public_address_is_let_through(address):
    assert not forbidden(ipaddress.ip_address(address))
    Guard(loopback=False).check(address)
    host = f"[{address}]" if ":" in address else address
    check_url(f"https://{host}/hook", loopback=False)


@pytest.mark.parametrize("address", [each for each in INSIDE if not ipaddress.ip_address(each).is_loopback])
def test_where_this_machine_is_allowed_nothing_else_is(address):
    with pytest.raises(Forbidden):
        Guard(loopback=True).check(address)


def test_this_machine_is_allowed_for_development_only():
    guard = Guard(loopback=True)
    for address in ("127.0.0.1", "127.1.2.3", "::1"):
        guard.check(address)
    for url in ("http://127.0.0.1:8000/hook", "http://localhost/hook", "https://[::1]/hook", "http://LOCALHOST./"):
        check_url(url, loopback=True)
        with pytest.raises(Invalid, match="TALLY_WEBHOOK_LOOPBACK"):
            check_url(url, loopback=False)


def test_the_guard_makes_a_socket_for_the_very_address_it_looked_at():
    made = Guard(loopback=True).socket((socket.AF_INET, socket.SOCK_STREAM, 0, "", ("127.0.0.1", 80)))
    assert made.family == socket.AF_INET
    made.close()
    with pytest.raises(Forbidden):
        Guard(loopback=True).socket((socket.AF_INET, socket.SOCK_STREAM, 0, "", ("10.0.0.1", 80)))
    with pytest.raises(Forbidden):
        Guard(loopback=True).socket((socket.AF_INET6, socket.SOCK_STREAM, 0, "", ("fe80::1", 80, 0, 2)))
    with pytest.raises(Forbidden, match="no address"):
        Guard(loopback=True).check("localhost")


@pytest.mark.parametrize(
    ("url", "complaint"),
    [
        ("http://example.com/", "https"),
        ("ftp://example.com/", "https"),
        ("//example.com/", "https"),
        ("https://", "host"),
        ("https:///path", "host"),
        ("", "host"),
        ("https://someone@example.com/", "credentials"),
        ("https://someone:secret@example.com/", "credentials"),
        ("https://@example.com/", "credentials"),
        ("https://example.com/#part", "fragment"),
        ("https://example.com/#", "fragment"),
        ("https://example.com/ a", "blanks"),
        ("https://example.com\\@10.0.0.1/", "blanks"),
        ("https://exämple.com/", "ASCII"),
        ("https://example.com/\n", "blanks"),
        ("https://example.com:0/", "port"),
        ("https://example.com:99999/", "understood"),
        ("https://[::1/", "understood"),
        ("https://example.com/" + "a" * 2048, "characters"),
    ],
)
def test_a_url_that_cannot_be_used_is_refused_with_its_reason(url, complaint):
    for loopback in (False, True):
        with pytest.raises(Invalid, match=complaint) as refused:
            check_url(url, loopback)
        assert refused.value.field == "url"


def test_a_secret_in_a_url_is_not_repeated_in_the_complaint():
    with pytest.raises(Invalid) as refused:
        check_url("https://someone:hunter2@example.com/", loopback=False)
    assert "hunter2" not in str(refused.value)


@pytest.mark.parametrize("url", ["https://example.com", "https://example.com:8443/hooks?tenant=7", "https://8.8.8.8/"])
def test_a_usual_url_is_taken(url):
    check_url(url, loopback=False)
