"""What ledgers' numbers mean, as acts say it."""

import pytest

from tallystick.acts import currencies
from tallystick.acts.currencies import Currencies
from tallystick.acts.entries import Act, encode
from tallystick.acts.sqlite import SqliteActs
from tallystick.errors import Invalid, Unavailable
from tallystick.records.openings import Currency


def said(act, target, more):
    return encode(Act(act=act, at_ns=1, by="uid:0", via="cli", nonce=bytes(16), target=target, result="set", more=more))


def set_to(tenant, ledger, code, scale):
    return said(currencies.ACT, str(ledger), currencies.more(tenant, code, scale))


@pytest.fixture
def control(tmp_path):
    log = SqliteActs(tmp_path / "control.db")
    yield log
    log.close()


def test_the_last_act_about_a_ledger_of_a_tenant_counts_and_is_named(control):
    table = Currencies(control)
    assert table.of(1, 978) is None
    control.append([said("key_new", "key:0", {"tenant": "1"}), set_to(1, 978, "EUR", 2), set_to(2, 978, "XAU", 6)])
    assert table.of(1, 978) == Currency("EUR", 2, control=1)
    assert table.of(2, 978) == Currency("XAU", 6, control=2)
    assert table.of(1, 979) is None
    control.append([set_to(1, 978, "EUR", 3)])
    assert table.of(1, 978) == Currency("EUR", 3, control=3)
    assert Currencies(control).all() == table.all() == {(1, 978): table.of(1, 978), (2, 978): table.of(2, 978)}


def test_a_log_of_many_acts_is_read_to_its_end(control):
    control.append([set_to(1, ledger, "EUR", 2) for ledger in range(1, 3_001)])
    assert Currencies(control).of(1, 3_000) == Currency("EUR", 2, control=2_999)


def test_where_the_log_is_gone_nothing_is_said(control, tmp_path):
    table = Currencies(control)
    assert table.of(1, 978) is None
    (tmp_path / "control.db").unlink()
    with pytest.raises(Unavailable):
        table.of(1, 978)


@pytest.mark.parametrize(
    ("code", "scale", "field"),
    [("eur", 2, "code"), ("", 2, "code"), ("EURO-EURO-EUR", 2, "code"), ("EUR", -1, "scale"), ("EUR", 31, "scale")],
)
def test_what_makes_no_sense_is_refused(code, scale, field):
    with pytest.raises(Invalid) as refused:
        currencies.more(1, code, scale)
    assert refused.value.field == field
