"""Lines of a scenario table that ask for something, as the events they stand for (`lab.scenarios`)."""

from collections.abc import Callable
from dataclasses import dataclass, field

from tallystick.lab.scenario_words import Line, Names, duration, is_number, number, side
from tallystick.records.commands import EVENTS, AccountFlag, ControlFlag, Kind, Opcode, TransferFlag
from tallystick.records.details import Verdict

LONG_AGO_NS = 1_790_000_000_000_000_000
"""`at=5` is five nanoseconds after this, before every table begins."""
_LIMITS = AccountFlag.DEBITS_MUST_NOT_EXCEED_CREDITS | AccountFlag.CREDITS_MUST_NOT_EXCEED_DEBITS
_VERDICTS = {"reviewed": Verdict.REVIEW, "suspicious": Verdict.REFUSE}
_ALL = (1 << 128) - 1
_NAMED = {
    "debit": ("debit_account_id", Kind.ACCOUNT),
    "credit": ("credit_account_id", Kind.ACCOUNT),
    "of": ("pending_id", Kind.TRANSFER),
}


@dataclass
class Command:
    """One line's event, and what screening is to say of it."""

    line: Line
    kind: Kind
    event: dict[str, int]
    verdict: Verdict = Verdict.ALLOW


@dataclass
class Reader:
    """Reads command lines. Names stand for ids; `now` says what time it is, ns."""

    now: Callable[[], int]
    names: dict[Kind, Names] = field(
        default_factory=lambda: {kind: Names() for kind in (Kind.ACCOUNT, Kind.TRANSFER, Kind.CONTROL)}
    )

    def reads(self, verb: str) -> bool:
        """Whether a line that begins so asks for something."""
        return f"_read_{verb}" in type(self).__dict__

    def read(self, line: Line) -> Command:
        """The line's command. Raises `IndexError`, `KeyError` or `ValueError` where it cannot be read."""
        command: Command = getattr(self, f"_read_{line.words[0]}")(line, line.words[1:])
        return command

    def _read_open(self, line: Line, words: list[str]) -> Command:
        event = {"id": self._account(words[0]), "ledger": 1, "code": 1, "flag_bits": 0}
        command = Command(line, Kind.ACCOUNT, event)
        fixed = self._options(command, [word for word in words[1:] if word != "overdraft"])
        if not fixed and not event["flag_bits"] & _LIMITS and "overdraft" not in words:
            event["flag_bits"] |= AccountFlag.DEBITS_MUST_NOT_EXCEED_CREDITS
        return command

    def _read_transfer(self, line: Line, words: list[str]) -> Command:
        event = {
            "id": self._transfer(words[0]),
            "debit_account_id": self._account(words[1]),
            "credit_account_id": self._account(words[2]),
            "amount": number(words[3]),
            "ledger": 1,
            "code": 1,
            "flag_bits": 0,
        }
        command = Command(line, Kind.TRANSFER, event)
        self._options(command, words[4:])
        return command

    def _read_post(self, line: Line, words: list[str]) -> Command:
        return self._resolve(line, words, TransferFlag.POST_PENDING_TRANSFER, _ALL)

    def _read_void(self, line: Line, words: list[str]) -> Command:
        return self._resolve(line, words, TransferFlag.VOID_PENDING_TRANSFER, 0)

    def _resolve(self, line: Line, words: list[str], flag: TransferFlag, whole: int) -> Command:
        event = {
            "id": self._transfer(words[0]),
            "pending_id": self._transfer(words[1]),
            "amount": whole,
            "flag_bits": int(flag),
        }
        options = words[2:]
        if options and options[0] not in TransferFlag.__members__ and options[0][0] in "0123456789m":
            event["amount"] = number(options.pop(0))
        command = Command(line, Kind.TRANSFER, event)
        self._options(command, options)
        return command

    def _read_freeze(self, line: Line, words: list[str]) -> Command:
        return self._control(line, Opcode.FREEZE, self._account(words[0]), side(words[1:]), words[1:])

    def _read_unfreeze(self, line: Line, words: list[str]) -> Command:
        return self._control(line, Opcode.UNFREEZE, self._account(words[0]), side(words[1:]), words[1:])

    def _read_limit(self, line: Line, words: list[str]) -> Command:
        return self._control(line, Opcode.CREDIT_LIMIT, self._account(words[0]), number(words[1]), words[2:])

    def _read_approve(self, line: Line, words: list[str]) -> Command:
        return self._control(line, Opcode.APPROVE, 0, self._transfer(words[0]), words[1:])

    def _read_reject(self, line: Line, words: list[str]) -> Command:
        return self._control(line, Opcode.REJECT, 0, self._transfer(words[0]), words[1:])

    def _control(self, line: Line, opcode: Opcode, account: int, value: int, words: list[str]) -> Command:
        event = {"account_id": account, "opcode": int(opcode), "value": int(value), "flag_bits": 0}
        command = Command(line, Kind.CONTROL, event)
        self._options(command, [word for word in words if "=" in word or word == "linked"])
        return command

    def _account(self, word: str) -> int:
        return self.names[Kind.ACCOUNT].of(word)

    def _transfer(self, word: str) -> int:
        return self.names[Kind.TRANSFER].of(word)

    # Options

    def _options(self, command: Command, words: list[str]) -> bool:
        """Take flags, verdicts and fields into the event. Returns whether `flags=` said them all."""
        flags = {Kind.ACCOUNT: AccountFlag, Kind.TRANSFER: TransferFlag, Kind.CONTROL: ControlFlag}[command.kind]
        fixed = False
        for word in words:
            name, equals, value = word.partition("=")
            if equals:
                fixed |= self._set(command, name, value)
            elif word in _VERDICTS and command.kind is Kind.TRANSFER:
                command.verdict = _VERDICTS[word]
            else:
                command.event["flag_bits"] |= int(flags[word.upper()])
        return fixed

    def _set(self, command: Command, name: str, value: str) -> bool:
        kind, event = command.kind, command.event
        if name == "flags":
            event["flag_bits"] |= number(value)
            return True
        if name in _NAMED and kind is Kind.TRANSFER:
            field_name, of = _NAMED[name]
            event[field_name] = self.names[of].of(value)
        elif name == "at":
            event["timestamp"] = self._instant(value)
        elif name == "timeout" and not is_number(value):
            event["timeout"] = duration(value) // duration("1s")
        elif name in (names := EVENTS[kind].names or ()) or f"{name}_lo" in names:
            event[name] = number(value)
        else:
            raise ValueError(f"a {kind.name.lower()} has no field {name}")
        return False

    def _instant(self, word: str) -> int:
        """`5` is long ago; `now`, `now-1ns` and `now+2h` are as the clock says."""
        if word.startswith("now"):
            return self.now() + (duration(word[3:].removeprefix("+")) if word[3:] else 0)
        return LONG_AGO_NS + number(word)
