from pathlib import Path

import pytest

from tallystick.errors import Invalid
from tallystick.lab.replay import mapping
from tallystick.lab.replay.mapping import Currency


def test_without_a_file_the_columns_have_our_names():
    found = mapping.read("")
    assert (found.columns.payer, found.columns.id, found.of("EUR")) == ("payer", "id", Currency(978, 2))


def test_a_currency_of_the_mapping_goes_before_ours():
    found = mapping.read("[currencies.POINTS]\nledger = 7\ndecimals = 0\n")
    assert found.of("POINTS") == Currency(7, 0)
    assert found.of("JPY") == Currency(392, 0)
    with pytest.raises(Invalid, match="'XXX' is not known"):
        found.of("XXX")


def test_the_page_shows_the_defaults():
    page = (Path(__file__).parents[4] / "docs" / "replay.md").read_text(encoding="utf-8")
    shown = mapping.read(page.split("```text\n")[1].split("```")[0])
    defaults = mapping.read("")
    assert shown.accounts == defaults.accounts
    assert (shown.amount, shown.currency, shown.code) == (defaults.amount, defaults.currency, defaults.code)
    assert (shown.columns.payer, shown.columns.time, shown.columns.id) == ("payer", "time", "id")


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("columns = 1", "columns"),
        ("[colums]\npayer = 'a'", "colums"),
        ("[columns]\npayer = ''", "columns.payer"),
        ("[amount]\nunit = 'cents'", "amount.unit"),
        ("[currencies.A]\nledger = 0\ndecimals = 2", "currencies.A"),
        ("[accounts]\nopening_balance = -1", "opening_balance"),
        ("code = 70000", "code"),
        ("currency = 'QQQ'", "QQQ"),
        ("name = ", "no TOML"),
    ],
)
def test_what_is_wrong_is_named(text, names):
    with pytest.raises(Invalid, match=names):
        mapping.read(text)
