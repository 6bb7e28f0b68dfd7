import json
from pathlib import Path

import pytest

from tallystick.cli import main, options, pay
from tallystick.cli.exits import EPILOG, Exit
from tallystick.cli.payout_file import REQUIRED
from tallystick.errors import Corrupt, Fenced, Invalid, OutcomeUnknown, Unavailable

COMMANDS = (
    ["up"],
    ["key", "new"],
    ["key", "list"],
    ["key", "revoke"],
    ["pay"],
    ["bench", "ledger"],
    ["bench", "http"],
    ["bench", "restart"],
    ["bench", "follow"],
    ["demo"],
    ["listen"],
    ["trigger"],
)


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_the_help_of_every_command_has_examples_exit_codes_and_json(
    command: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main.run([*command, "--help"]) == Exit.DONE
    text = " ".join(capsys.readouterr().out.split())
    assert "Example" in text
    assert f"tally {' '.join(command)}" in text
    assert "--json" in text
    assert EPILOG[:60] in text


@pytest.mark.parametrize(
    "words", [["nonsense"], ["pay"], ["pay", "x.csv", "--nonsense"], ["key", "new"], ["up", "--port"]]
)
def test_a_command_line_that_makes_no_sense_is_one_line_that_names_the_help(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main.run(words) == Exit.USAGE
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.startswith("tally: ")
    assert shown.err.count("\n") == 1
    assert "--help`" in shown.err


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (Invalid("amount", "must be a number"), Exit.NOT_DONE),
        (Unavailable("nothing answers"), Exit.NOT_DONE),
        (OutcomeUnknown("ask again"), Exit.UNKNOWN),
        (Corrupt("block 7 does not verify"), Exit.NEEDS_A_PERSON),
        (Fenced("another writer took over"), Exit.NEEDS_A_PERSON),
        (FileNotFoundError(2, "No such file or directory", "x.csv"), Exit.NOT_DONE),
        (KeyboardInterrupt(), Exit.INTERRUPTED),
        (ZeroDivisionError("division by zero"), Exit.NOT_DONE),
    ],
)
def test_every_failure_is_one_line_and_a_code_and_never_a_stack_trace(
    error: BaseException, code: Exit, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(path: Path) -> bytes:
        raise error

    monkeypatch.setattr(Path, "read_bytes", broken)
    assert main.run(["pay", "x.csv"]) == code
    shown = capsys.readouterr()
    assert shown.err.startswith("tally: ")
    assert shown.err.count("\n") == 1
    assert "Traceback" not in shown.err
    assert main.run(["pay", "x.csv", "--json"]) == code
    told = json.loads(capsys.readouterr().out)
    assert told["exit_code"] == code
    assert told["error"] in shown.err


def test_a_traceback_is_shown_to_those_who_ask_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(path: Path) -> bytes:
        raise ZeroDivisionError

    monkeypatch.setattr(Path, "read_bytes", broken)
    with pytest.raises(ZeroDivisionError):
        main.run(["--traceback", "pay", "x.csv"])


def test_settings_that_make_no_sense_are_named_by_their_environment_variable() -> None:
    with pytest.raises(Invalid, match="TALLY_HTTP_PORT"):
        options.settings(http_port=99_999)


def test_a_key_is_taken_from_a_file_or_the_environment_and_must_look_like_one(tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_text("sk_abc\n")
    assert options.api_key(None, file) == "sk_abc"
    assert options.api_key("sk_env", None) == "sk_env"
    for text in ("", "sk_a sk_b", "sk_\x00", "schlüssel"):
        with pytest.raises(Invalid):
            options.api_key(text, None)


class TestKeys:
    def test_a_key_is_shown_once_listed_by_name_and_revoked(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        data = ["--data", str(tmp_path)]
        assert main.run(["key", "new", "shop", "--tenant", "7", "--scope", "pay", *data, "--json"]) == Exit.DONE
        made = json.loads(capsys.readouterr().out)
        assert made["key"].startswith("sk_")
        assert made["key"] not in (tmp_path / "keys.json").read_text()
        assert main.run(["key", "list", *data, "--json"]) == Exit.DONE
        (listed,) = json.loads(capsys.readouterr().out)
        assert (listed["name"], listed["tenant"], listed["scopes"]) == ("shop", 7, ["pay"])
        assert main.run(["key", "revoke", "shop", *data]) == Exit.DONE
        capsys.readouterr()
        assert main.run(["key", "list", *data, "--json"]) == Exit.DONE
        assert json.loads(capsys.readouterr().out) == []

    def test_without_json_standard_output_is_the_key_and_nothing_else(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert main.run(["key", "new", "shop", "--data", str(tmp_path)]) == Exit.DONE
        out = capsys.readouterr().out
        assert out.startswith("sk_")
        assert out.split() == [out.strip()]

    @pytest.mark.parametrize(
        "words", [["new", "shop"], ["revoke", "nobody"], ["new", "other", "--scope", "everything"]], ids=" ".join
    )
    def test_what_cannot_be_done_is_told_and_changes_nothing(
        self, words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        data = ["--data", str(tmp_path)]
        assert main.run(["key", "new", "shop", *data]) == Exit.DONE
        before = (tmp_path / "keys.json").read_text()
        capsys.readouterr()
        assert main.run(["key", *words, *data]) == Exit.NOT_DONE
        assert capsys.readouterr().err.startswith("tally: ")
        assert (tmp_path / "keys.json").read_text() == before


class TestPay:
    def test_a_file_with_faults_is_listed_whole_and_nothing_is_sent(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        file = tmp_path / "p.csv"
        file.write_text(",".join(REQUIRED) + "\n" + f"j,1,{'a' * 32},{'b' * 32},x,0,7\n")
        # No key and no server: it must not even ask for them.
        assert main.run(["pay", str(file)]) == Exit.NOT_DONE
        lines = capsys.readouterr().err.splitlines()
        assert lines[0].startswith(f"{file}: line 2, amount: ")
        assert lines[1].startswith(f"{file}: line 2, ledger: ")
        assert "nothing was sent" in lines[2]
        assert main.run(["pay", str(file), "--json"]) == Exit.NOT_DONE
        told = json.loads(capsys.readouterr().out)
        assert [(fault["line"], fault["column"]) for fault in told["faults"]] == [(2, "amount"), (2, "ledger")]

    def test_many_faults_are_cut_short_for_people(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        file = tmp_path / "p.csv"
        rows = [f"j,{n},{'a' * 32},{'b' * 32},x,1,7" for n in range(200)]
        file.write_text("\n".join([",".join(REQUIRED), *rows]))
        assert main.run(["pay", str(file)]) == Exit.NOT_DONE
        lines = capsys.readouterr().err.splitlines()
        assert len(lines) == pay.FAULTS_SHOWN + 2
        assert "150 more" in lines[-2]

    def test_check_sends_nothing(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        file = tmp_path / "p.csv"
        file.write_text(",".join(REQUIRED) + "\n" + f"j,1,{'a' * 32},{'b' * 32},5,1,7\n")
        assert main.run(["pay", str(file), "--check", "--url", "http://127.0.0.1:9", "--json"]) == Exit.DONE
        assert json.loads(capsys.readouterr().out) == {"rows": 1, "faults": []}
        assert list(tmp_path.iterdir()) == [file]

    def test_the_report_may_not_overwrite_the_file_nor_be_unwritable(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        file = tmp_path / "p.csv"
        text = ",".join(REQUIRED) + "\n" + f"j,1,{'a' * 32},{'b' * 32},5,1,7\n"
        file.write_text(text)
        for report in (file, tmp_path / "missing" / "r.csv"):
            assert main.run(["pay", str(file), "--key", "k", "--report", str(report)]) == Exit.NOT_DONE
        assert file.read_text() == text

    def test_nobody_there_is_told_with_what_to_do(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        file = tmp_path / "p.csv"
        file.write_text(",".join(REQUIRED) + "\n" + f"j,1,{'a' * 32},{'b' * 32},5,1,7\n")
        words = ["pay", str(file), "--key", "k", "--url", "http://127.0.0.1:9", "--patience", "1"]
        assert main.run(words) == Exit.UNKNOWN
        text = capsys.readouterr().out
        assert "1 not sent" in text
        assert "tally up" in text
        assert "Run the same command again" in text
