from tallystick.gateway.trickle import Trickle


def test_one_line_passes_in_a_while_and_the_others_are_counted():
    trickle = Trickle(every_s=1.0)
    assert trickle.admit(5.0) == 0
    assert [trickle.admit(5.0 + tenth / 10) for tenth in range(1, 10)] == [None] * 9
    assert trickle.admit(6.0) == 9
    assert trickle.admit(7.5) == 0
