"""What look-ups show, held against a line of a scenario table (`lab.scenarios`)."""

from collections.abc import Mapping

from tallystick.lab.model import ModelAccount
from tallystick.lab.scenario_words import SIDES, Line, Names, number
from tallystick.records.commands import AccountFlag, Side


def hold_balances(line: Line, words: list[str], found: ModelAccount) -> None:
    """Pairs of what a balance line says, against the account. Raises `KeyError` and `ValueError` for unknown words."""
    said = {
        "debits": found.debits_posted,
        "credits": found.credits_posted,
        "debits_pending": found.debits_pending,
        "credits_pending": found.credits_pending,
        "posted": found.credits_posted - found.debits_posted,
        "available": found.credits_posted - found.debits_posted - found.debits_pending + found.credit_limit,
        "limit": found.credit_limit,
    }
    for name, value in zip(words[::2], words[1::2], strict=True):
        if name == "frozen":
            if found.frozen != SIDES[value]:
                raise line.fail(f"frozen is {Side(found.frozen)!r}")
        elif name == "closed":
            if found.has(AccountFlag.CLOSED) != {"yes": True, "no": False}[value]:
                raise line.fail("closed is not so")
        elif said[name] != (-number(value[1:]) if value.startswith("-") else number(value)):
            raise line.fail(f"{name} is {said[name]}")


def hold_transfer(line: Line, words: list[str], shown: Mapping[str, int] | None, accounts: Names) -> None:
    """Pairs of what a lookup line says, or nothing, against the transfer as it is shown."""
    if words[0] == "nothing":
        if shown is not None:
            raise line.fail("there is such a transfer")
        return
    if shown is None:
        raise line.fail("there is no such transfer")
    for name, value in zip(words[::2], words[1::2], strict=True):
        if name in ("debit", "credit"):
            name, expected = f"{name}_account_id", accounts.of(value)
        else:
            expected = number(value)
        if shown[name] != expected:
            raise line.fail(f"{name} is {shown[name]}")
