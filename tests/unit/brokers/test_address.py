import pytest

from tallystick.brokers.address import parse
from tallystick.errors import Invalid


def test_an_address_names_hosts_login_name_and_options():
    found = parse("kafka://me:p%40ss%2F@a:9093,b/payments?tls=on&ca=/etc/ca.crt", "TALLY_INTAKE")
    assert (found.scheme, found.hosts, found.name) == ("kafka", (("a", 9093), ("b", 9092)), "payments")
    assert (found.user, found.password) == ("me", "p@ss/")
    assert found.options == {"tls": "on", "ca": "/etc/ca.crt"}
    assert found.tls


def test_what_is_left_out_has_a_default():
    found = parse("rabbitmq://broker", "TALLY_INTAKE")
    assert (found.hosts, found.name, found.user, found.tls) == ((("broker", 5672),), "tally", "", False)
    assert parse("rabbitmq://broker?tls=on", "TALLY_INTAKE").hosts == (("broker", 5671),)
    assert parse("kafka://[::1]:99", "TALLY_INTAKE").hosts == (("::1", 99),)


def test_it_is_shown_without_its_password():
    found = parse("kafka://me:secret@a:9093/x", "TALLY_INTAKE")
    assert str(found) == "kafka://a:9093/x"
    assert "secret" not in repr(found)


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("redis://a", "begins with none of kafka://, rabbitmq://"),
        ("kafka://", "begins with none"),
        ("kafka://:9092/x", "names no host"),
        ("kafka://a:zero/x", "zero is no port"),
        ("kafka://a:99999/x", "99999 is no port"),
        ("kafka://a/x.y", "'x.y' is no name"),
        ("kafka://a/x?colour=red", r"\?colour is not known; there are ca, certificate, key, tls"),
        ("kafka://a/x?tls=maybe", "tls is on or off"),
    ],
)
def test_what_cannot_be_understood_is_named_with_its_setting(url, told):
    with pytest.raises(Invalid, match=f"^TALLY_INTAKE: .*{told}"):
        parse(url, "TALLY_INTAKE")
