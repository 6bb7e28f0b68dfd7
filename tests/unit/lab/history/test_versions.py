from tallystick.lab.history.versions import FOR_EVER, NOT_THERE, Versions, common, earliest


def test_what_it_looked_like_is_known_with_its_positions() -> None:
    versions = Versions()
    for position, row in ((2, b"a"), (4, b"b"), (5, b"b"), (7, b"a")):
        versions.change(row, position)
    assert versions.spans(NOT_THERE) == [(0, 1)]
    assert versions.spans(b"a") == [(2, 3), (7, FOR_EVER)]
    assert versions.spans(b"b") == [(4, 6)]
    assert versions.spans(b"c") == []


def test_positions_common_to_two() -> None:
    assert common([(0, 5), (8, 9)], [(1, 2), (4, 8)]) == [(1, 2), (4, 5), (8, 8)]
    assert common([(0, 1)], [(2, 3)]) == []
    assert common([(0, FOR_EVER)], [(2, 3), (5, FOR_EVER)]) == [(2, 3), (5, FOR_EVER)]


def test_the_earliest_position_between_two() -> None:
    assert earliest([(2, 3), (7, 9)], 0, 20) == 2
    assert earliest([(2, 3), (7, 9)], 3, 20) == 3
    assert earliest([(2, 3), (7, 9)], 4, 20) == 7
    assert earliest([(2, 3), (7, 9)], 4, 6) is None
