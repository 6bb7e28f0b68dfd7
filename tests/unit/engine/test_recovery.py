from pathlib import Path

import pytest

from tallystick import Account, Ledger
from tallystick.errors import Invalid


def test_books_too_small_for_the_journal_say_which_setting_to_raise(tmp_path: Path) -> None:
    with Ledger.open(tmp_path / "books", accounts_max=3, window_ids=64, segment_bytes=6_291_456) as ledger:
        ledger.create_accounts([Account(id=number, ledger=1, code=1) for number in (1, 2, 3)])
    with pytest.raises(Invalid, match="raise TALLY_ACCOUNTS_MAX"):
        Ledger.open(tmp_path / "books", accounts_max=2, window_ids=64, segment_bytes=6_291_456)
    with Ledger.open(tmp_path / "books", accounts_max=3, window_ids=64, segment_bytes=6_291_456) as ledger:
        assert len(ledger.lookup_accounts([1, 2, 3])) == 3
