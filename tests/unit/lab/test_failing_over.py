"""What is said of kills: the longest silence after each, and every request that was not told the same again."""

import numpy as np
import pytest

from tallystick.errors import Invalid
from tallystick.lab import bench_failover
from tallystick.lab.bench_failover import Servers
from tallystick.lab.failing_over import silences_s, told_otherwise
from tallystick.lab.load import ANSWER

SECOND = 1_000_000_000


def seconds(*values: float) -> "np.ndarray[tuple[int], np.dtype[np.int64]]":
    return np.array([round(value * SECOND) for value in values], np.int64)


def test_a_silence_is_the_longest_time_without_an_answer_until_the_next_kill() -> None:
    # an answer still comes just after the order to kill; the silence begins with it
    times = seconds(1.0, 2.1, 5.1, 5.2, 9.0, 10.0, 10.5)
    assert silences_s(times, seconds(2.0, 9.5).tolist()) == pytest.approx([3.8, 0.5])


def test_a_silence_without_end_is_infinite() -> None:
    assert silences_s(seconds(1.0), seconds(2.0).tolist()) == [float("inf")]


def answers(*rows: tuple[int, int, bytes, bool, bool]) -> "np.ndarray[tuple[int], np.dtype[np.void]]":
    found = np.zeros(len(rows), ANSWER)
    columns = ("answered_ns", "timestamp", "status", "acknowledged", "replayed")
    for column, values in zip(columns, zip(*rows, strict=True), strict=True):
        found[column] = values
    return found


FIRST = (5, 77, b"created", True, False)


@pytest.mark.parametrize(
    ("first", "again", "otherwise"),
    [
        (FIRST, (9, 77, b"created", True, True), 0),
        (FIRST, (9, 78, b"created", True, False), 1),  # it was lost, and is decided only now
        (FIRST, (9, 78, b"created", True, True), 1),
        (FIRST, (9, 77, b"exceeds_credits", True, True), 1),
        (FIRST, (0, 0, b"", False, False), 1),
        ((0, 0, b"", True, False), (9, 78, b"created", True, True), 0),  # only its acknowledgement was known
        ((0, 0, b"", True, False), (9, 78, b"created", True, False), 1),
        ((0, 0, b"", False, False), (9, 78, b"created", True, False), 0),  # nobody had been told anything
    ],
)
def test_what_was_acknowledged_is_told_again_as_it_was(
    first: tuple[int, int, bytes, bool, bool], again: tuple[int, int, bytes, bool, bool], otherwise: int
) -> None:
    assert told_otherwise(answers(first), answers(again)) == otherwise


@pytest.mark.parametrize(
    ("names", "servers", "said"),
    [
        ([], Servers(), "engine: needs a journal"),
        (["mysql"], Servers(), "no such case as 'mysql'"),
        (["engine"], Servers(journal="postgresql://db/bank"), "--intake"),
        (["postgresql"], Servers(journal="postgresql://db/bank", databases=["one {}"]), "--database COMMAND twice"),
        (["kafka"], Servers(intake="kafka://k/bench", brokers=["{} 1", "{} 2"]), "3 at least"),
        (
            ["postgresql"],
            Servers(journal="postgresql://db/bank", databases=["one", "{} two"]),
            "'one' has no {} where kill, promote, start go",
        ),
    ],
)
def test_what_a_case_lacks_is_named_before_anything_starts(names: list[str], servers: Servers, said: str) -> None:
    with pytest.raises(Invalid, match=said.replace("{", r"\{")):
        bench_failover.run(1, names, servers, None, lambda line: None)
