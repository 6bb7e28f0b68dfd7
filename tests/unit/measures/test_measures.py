import pytest

from tallystick.measures import file, table
from tallystick.measures.table import Family

FAMILIES = (
    Family(name="a_count", meaning="A count.", kind="counter"),
    Family(name="a_size_seconds", meaning="Sizes.", kind="histogram", per_unit=1_000, bounds=(10, 100)),
    Family(name="a_level", meaning="A level.", kind="gauge"),
)


def values(measures):
    return {counted.family.name: counted.values for counted in measures.read()}


def test_counters_add_gauges_are_set_and_histograms_fill_the_bucket_that_a_value_fits():
    measures = table.in_memory(FAMILIES)
    measures.counter("a_count").add(2)
    measures.counter("a_count").add(3)
    measures.gauge("a_level").set(7)
    measures.gauge("a_level").set(4)
    sizes = measures.histogram("a_size_seconds")
    for value in (0, 10, 11, 100, 101, 5_000):
        sizes.note(value)
    assert values(measures) == {"a_count": (5,), "a_level": (4,), "a_size_seconds": (2, 2, 2, 5_222)}


def test_what_is_measured_wrongly_ends_nothing():
    measures = table.in_memory(FAMILIES)
    measures.histogram("a_size_seconds").note(-5)
    for _ in range(3):
        measures.histogram("a_size_seconds").note(1 << 63)
    measures.gauge("a_level").set(-1)
    assert values(measures)["a_size_seconds"] == (1, 0, 3, 1 << 63)


def test_a_name_of_another_kind_is_none():
    measures = table.in_memory(FAMILIES)
    with pytest.raises(KeyError, match="no gauge"):
        measures.gauge("a_count")
    with pytest.raises(KeyError):
        measures.counter("another")


def test_a_file_says_itself_what_stands_in_it_and_outlives_its_writer(tmp_path):
    measures = file.create(tmp_path, "engine", FAMILIES)
    measures.counter("a_count").add(9)
    assert {counted.family: counted.values for counted in file.read(tmp_path)["engine"]}[FAMILIES[0]] == (9,)
    measures.counter("a_count").add(1)  # the writer goes on; a reader sees it without a word between them
    del measures
    assert file.read(tmp_path)["engine"][0].values == (10,)


def test_a_new_start_begins_at_zero(tmp_path):
    file.create(tmp_path, "engine", FAMILIES).counter("a_count").add(9)
    file.create(tmp_path, "engine", FAMILIES)
    assert file.read(tmp_path)["engine"][0].values == (0,)


@pytest.mark.parametrize("data", [b"", b"TALLYMSR", b"x" * 200, b"TALLYMSR\1\0\0\0\2\0\0\0[]garbage!"])
def test_a_file_that_cannot_be_understood_is_left_out(tmp_path, data):
    file.create(tmp_path, "engine", FAMILIES)
    (tmp_path / "other.measures").write_bytes(data)
    assert list(file.read(tmp_path)) == ["engine"]
