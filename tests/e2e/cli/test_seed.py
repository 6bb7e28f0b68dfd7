import json

from tallystick.cli import main
from tallystick.cli.exits import Exit


def seed(capsys, instance, *more):
    target = ["--url", instance.url, "--key-file", str(instance.key_file), "--json"]
    code = main.run(["seed", "--customers", "5", "--days", "31", *more, *target])
    return code, json.loads(capsys.readouterr().out)


def test_a_seeded_bank_stands_after_one_run_and_is_the_same_after_two(instance, capsys):
    code, told = seed(capsys, instance)
    assert (code, told["replayed"], told["refused"]) == (Exit.DONE, 0, {})
    assert told["payments"] > 60
    accounts = [int(account, 16) for account in told["accounts"].values()]
    before = instance.balances(accounts)
    assert len(before) == len(accounts) == 4
    code, again = seed(capsys, instance)
    assert (code, again["replayed"], again["accounts_opened"]) == (Exit.DONE, told["payments"], 0)
    assert again["accounts"] == told["accounts"]
    assert instance.balances(accounts) == before


def test_without_a_platform_it_says_what_to_start(capsys):
    code = main.run(["seed", "--url", "http://127.0.0.1:9", "--key", "sk_x", "--patience", "1", "--json"])
    assert code == Exit.NOT_DONE
    assert "tally up" in json.loads(capsys.readouterr().out)["error"]
