"""What follows from an attempt, and when."""

import pytest

from tallystick.notifier.schedule import DELAYS_S, Next, Reply, after, delay_ns, told

SECOND = 1_000_000_000


@pytest.mark.parametrize("status", [200, 201, 202, 204, 299])
def test_only_2xx_is_delivered(status):
    assert after(Reply(status), 1) is Next.DELIVERED
    assert told(Reply(status)) == ""


@pytest.mark.parametrize("status", [None, 100, 199, 300, 301, 302, 307, 308, 400, 404, 409, 429, 500, 503])
def test_anything_else_is_tried_again_ten_times_in_all(status):
    reply = Reply(status, "" if status else "no connection")
    assert [after(reply, tries) for tries in range(1, 11)] == [Next.AGAIN] * 9 + [Next.DEAD]
    assert told(reply)


def test_a_redirect_says_that_it_was_not_followed():
    assert "redirects are not followed" in told(Reply(302))


def test_410_is_gone_at_once():
    assert after(Reply(410), 1) is Next.GONE


def test_the_delays_are_those_of_the_specification():
    hours = 3_600
    assert (
        0, 5, 300, 1_800, 2 * hours, 5 * hours, 10 * hours, 14 * hours, 20 * hours, 24 * hours
    ) == DELAYS_S  # fmt: skip


@pytest.mark.parametrize("tries", range(1, 10))
def test_jitter_only_ever_adds_and_at_most_a_tenth(tries):
    least, most = delay_ns(tries, 0.0), delay_ns(tries, 1.0)
    assert least == DELAYS_S[tries] * SECOND
    assert least < delay_ns(tries, 0.5) < most <= least * 1.1 + 1
