import sys
from datetime import UTC, datetime
from decimal import Decimal

import pytest

from tallystick.errors import Invalid
from tallystick.lab.replay import rows
from tallystick.lab.replay.mapping import Nanoseconds


def all_rows(path, skip=0):
    return [row for part in rows.open_history(path).rows(skip) for row in part]


def write(path, text):
    path.write_text(text, encoding="utf-8")
    return path


def test_csv_rows_have_their_numbers_and_blank_lines_are_none(tmp_path):
    path = write(tmp_path / "a.csv", 'payer, payee\nada,"shop, the"\n\nben,bakery\n')
    assert rows.open_history(path).columns == ["payer", "payee"]
    assert all_rows(path) == [
        (0, {"payer": "ada", "payee": "shop, the"}),
        (1, {"payer": "ben", "payee": "bakery"}),
    ]
    assert [number for number, _ in all_rows(path, skip=1)] == [1]


def test_a_file_of_many_rows_comes_in_parts(tmp_path):
    count = 2 * rows.ROWS_AT_ONCE + 5
    path = write(tmp_path / "a.csv", "n\n" + "".join(f"{n}\n" for n in range(count)))
    parts = [len(part) for part in rows.open_history(path).rows(10)]
    assert sum(parts) == count - 10
    assert max(parts) == rows.ROWS_AT_ONCE


def test_parquet_keeps_instants_and_decimals_as_they_are(tmp_path):
    arrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    count = rows.ROWS_AT_ONCE + 3
    moment = datetime(2026, 1, 1, tzinfo=UTC)
    table = arrow.table(
        {
            "time": arrow.array([moment] * count, arrow.timestamp("us", "UTC")),
            "amount": arrow.array([Decimal("1.10")] * count, arrow.decimal128(10, 2)),
            "n": list(range(count)),
        }
    )
    parquet.write_table(table, tmp_path / "a.parquet")
    found = all_rows(tmp_path / "a.parquet", skip=rows.ROWS_AT_ONCE + 1)
    assert [number for number, _ in found] == [count - 2, count - 1]
    assert found[0][1] == {"time": 1767225600 * 10**9, "amount": Decimal("1.10"), "n": count - 2}
    assert type(found[0][1]["time"]) is Nanoseconds
    assert rows.open_history(tmp_path / "a.parquet").count == count


def test_without_pyarrow_it_says_how_to_get_it(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    with pytest.raises(Invalid, match=r'pip install "tallystick\[parquet\]"'):
        rows.open_history(tmp_path / "a.parquet")


@pytest.mark.parametrize(
    ("name", "data", "says"),
    [
        ("a.csv", b"", "is empty"),
        ("a.csv", b"a,b\n\xff\xfe\n", "no CSV in UTF-8"),
        ("a.csv", b"a,b\n" + b"1,2\n" * 9_000 + b"\xff,2\n", "after row"),
        ("a.csv", b'a,b\n1,"2\n', "after row"),
        ("a.parquet", b"PAR?", "no Parquet"),
        ("a.xlsx", b"", "must end in"),
    ],
)
def test_what_cannot_be_read_is_told(tmp_path, name, data, says):
    (tmp_path / name).write_bytes(data)
    with pytest.raises(Invalid, match=says):
        all_rows(tmp_path / name)
