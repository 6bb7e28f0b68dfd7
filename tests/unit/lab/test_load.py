"""The load generator against a server that misbehaves as told."""

import asyncio
import os
import re
import signal
from collections import Counter
from pathlib import Path

import msgspec
import numpy as np
import pytest
import uvloop

from tallystick.lab import load
from tallystick.lab.bank_day import BankDay
from tallystick.lab.load import ANSWER, Config
from tallystick.lab.plan import Plan
from tallystick.records.commands import TransferFlag


class Gateway(asyncio.Protocol):
    """Answers payments; `trouble` may name something else to do at the first try of every n-th one."""

    trouble = ""
    every = 3
    tries: Counter[bytes]
    bodies: dict[bytes, bytes]

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport: asyncio.Transport = transport  # type: ignore[assignment]
        self.data = b""

    def data_received(self, data: bytes) -> None:
        self.data += data
        head, end, body = self.data.partition(b"\r\n\r\n")
        length = int(found.group(1)) if end and (found := re.search(rb"Content-Length: (\d+)", head)) else 0
        if not end or len(body) < length:
            return
        assert len(body) == length, "a second request was sent before the first was answered"
        self.data = b""
        key = re.search(rb"Idempotency-Key: (\w{32})", head).group(1)  # type: ignore[union-attr]
        assert self.bodies.setdefault(key, body) == body, "a retry was not the same request"
        self.tries[key] += 1
        number = int(key, 16) & 0xFFFF
        if self.trouble and self.tries[key] == 1 and number % self.every == 0:
            self.misbehave()
        elif b'"amount":"1000000000000000"' in body:
            self.answer(
                b"422 No", b'{"type":"/problems/refused","status":422,"outcome":"exceeds_credits","timestamp":"9"}'
            )
        else:
            self.answer(b"201 Created", b'{"status":"created","timestamp":"%d"}' % number)

    def answer(self, status: bytes, body: bytes, more: bytes = b"") -> None:
        self.transport.write(b"HTTP/1.1 %b\r\ncontent-length: %d\r\n%b\r\n%b" % (status, len(body), more, body))

    def misbehave(self) -> None:
        if self.trouble == "drop":
            self.transport.close()
        elif self.trouble == "slow":
            whole = (
                b'HTTP/1.1 201 Created\r\nContent-Length: 34\r\n\r\n{"status":"created","timestamp":"7"}'[:-2] + b"}"
            )
            for at in range(0, len(whole), 10):
                asyncio.get_running_loop().call_later(0.002 * at, self.transport.write, whole[at : at + 10])
        else:
            self.answer(self.trouble.encode() + b" Later", b"{}")


def run(
    tmp_path: Path,
    trouble: str = "",
    rate: float = 0.0,
    payments: int = 100,
    plan: BankDay | None = None,
    kept_back: int = 0,
) -> tuple[np.ndarray, type[Gateway]]:  # type: ignore[type-arg]
    class Told(Gateway):
        pass

    Told.trouble, Told.tries, Told.bodies = trouble, Counter(), {}
    answers = tmp_path / "answers.npy"

    async def both() -> None:
        server = await asyncio.get_running_loop().create_server(Told, "127.0.0.1", 0)
        config = Config(
            host="127.0.0.1",
            port=server.sockets[0].getsockname()[1],
            key="k",
            plan=plan or Plan(run=1, accounts=5, payments=payments),
            connections=10,
            answers=str(answers),
            rate=rate,
            patience_s=30.0,
            kept_back=kept_back,
        )
        running = asyncio.create_task(load.run(config))
        while kept_back and sum(Told.tries.values()) < payments - kept_back:
            await asyncio.sleep(0)
        if kept_back:
            await asyncio.sleep(2 * load.PROGRESS_S)  # nobody waits: all connections are free, and none sends
            assert sum(Told.tries.values()) == payments - kept_back
            os.kill(os.getpid(), signal.SIGUSR1)
        await running
        server.close()

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(both())
    return np.load(answers), Told


@pytest.fixture(autouse=True)
def _collector_back() -> object:
    """The generator turns the garbage collector off for good, which suits a process of its own, but not this one."""
    import gc

    yield
    gc.unfreeze()
    gc.enable()


def test_every_payment_is_made_once_and_its_answer_noted(tmp_path: Path) -> None:
    rows, gateway = run(tmp_path)
    assert rows.dtype == ANSWER
    assert set(gateway.tries.values()) == {1}
    assert len(gateway.tries) == 100
    assert Counter(rows["status"].tolist()) == {b"created": 98, b"exceeds_credits": 2}
    assert rows["timestamp"].tolist() == [9 if index % 50 == 49 else index + 1 for index in range(100)]
    assert rows["acknowledged"].all()
    assert (rows["answered_ns"] >= rows["sent_ns"]).all()
    assert (rows["sent_ns"] > 0).all()


def test_what_is_kept_back_is_sent_only_after_the_word(tmp_path: Path) -> None:
    rows, gateway = run(tmp_path, kept_back=15)
    assert set(gateway.tries.values()) == {1}
    assert len(gateway.tries) == 100
    first, last = rows["answered_ns"][:85], rows["sent_ns"][85:]
    assert first.all()
    assert first.max() < last.min()


@pytest.mark.parametrize("trouble", ["202", "429", "503", "504", "drop"])
def test_what_is_not_known_is_sent_again_with_the_same_key_until_it_is(tmp_path: Path, trouble: str) -> None:
    rows, gateway = run(tmp_path, trouble)
    retried = [key for key, tries in gateway.tries.items() if tries > 1]
    assert len(retried) == 33
    assert set(gateway.tries.values()) == {1, 2}
    assert Counter(rows["status"].tolist()) == {b"created": 98, b"exceeds_credits": 2}
    assert Counter(rows["tries"].tolist()) == {1: 67, 2: 33}


def test_an_answer_in_small_pieces_is_read_whole(tmp_path: Path) -> None:
    rows, gateway = run(tmp_path, "slow")
    assert set(gateway.tries.values()) == {1}
    assert (rows["answered_ns"] > 0).all()


def test_an_open_loop_sends_at_its_rate_and_counts_from_the_intended_start(tmp_path: Path) -> None:
    rows, _ = run(tmp_path, rate=500.0)
    gaps = np.diff(rows["sent_ns"])
    assert set(gaps.tolist()) == {2_000_000}
    assert (rows["answered_ns"] > 0).all()
    # The server answers at once, so the run takes as long as its arrivals do.
    assert rows["answered_ns"].max() - rows["sent_ns"].min() >= 99 * 2_000_000


def test_in_an_open_loop_a_payment_without_a_free_connection_waits_and_its_wait_counts(tmp_path: Path) -> None:
    rows, _ = run(tmp_path, trouble="202", rate=20_000.0)
    assert (rows["answered_ns"] > 0).all()
    # 33 of the 100 wait 25 to 50 ms on ten connections, while all of them came due within 5 ms.
    assert rows["sent_ns"].max() - rows["sent_ns"].min() < 6_000_000
    assert np.median(rows["answered_ns"] - rows["sent_ns"]) > 20_000_000


@pytest.mark.parametrize("rate", [0.0, 20_000.0])
@pytest.mark.parametrize("trouble", ["", "202"])
def test_a_payment_is_sent_when_the_outcome_is_known_on_which_it_builds(
    tmp_path: Path, trouble: str, rate: float
) -> None:
    day = BankDay(run=1, payments=400, people=20)
    rows, gateway = run(tmp_path, trouble, rate, plan=day)
    assert len(gateway.bodies) == 400
    assert rows["acknowledged"].all()
    built = [(index, day.payment(index).after) for index in range(400) if day.payment(index).after >= 0]
    assert len(built) > 200
    assert all(rows["sent_ns"][index] >= rows["answered_ns"][after] for index, after in built)


def test_a_bank_s_day_goes_out_as_the_api_takes_it(tmp_path: Path) -> None:
    day = BankDay(run=1, payments=400, people=20)
    _, gateway = run(tmp_path, plan=day)
    for index in range(400):
        payment = day.payment(index)
        sent = msgspec.json.decode(gateway.bodies[b"%032x" % payment.id])
        assert sent == {
            "id": f"{payment.id:032x}",
            "amount": str(payment.amount),
            **({"flags": ["pending"]} if payment.flags == TransferFlag.PENDING else {}),
            **({"pending_id": f"{payment.pending_id:032x}", "flags": sent.get("flags")} if payment.pending_id else {}),
            **(
                {
                    "debit_account_id": f"{payment.debit_account_id:032x}",
                    "credit_account_id": f"{payment.credit_account_id:032x}",
                    "ledger": 978,
                    "code": payment.code,
                }
                if payment.debit_account_id
                else {}
            ),
        }
        if payment.pending_id:
            assert sent["flags"] in (["post_pending_transfer"], ["void_pending_transfer"])
