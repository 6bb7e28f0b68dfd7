"""Text under commitments: read by who has the person's key, and by nobody once it is destroyed."""

import hashlib
import hmac
import shutil
import sqlite3

import pytest

from tallystick.clock import system_entropy
from tallystick.errors import Corrupt, Invalid, InvalidProof, TallystickError, Unavailable
from tallystick.metadata.fields import check_fields, check_person
from tallystick.metadata.keys import PersonKeys
from tallystick.metadata.postgresql import PostgresTexts
from tallystick.metadata.sqlite import SqliteTexts
from tallystick.metadata.store import MetadataStore, Text
from tallystick.records import commitments
from tallystick.records.commitments import Opening

FIELDS = {"reference": "Rent, May", "debtor": "Ada Lovelace"}
TENANT, PERSON = 7, "p-4711"


def store_in(folder, texts=None):
    texts = texts or SqliteTexts(folder / "texts.db")
    return MetadataStore(texts, PersonKeys(folder / "keys", system_entropy), system_entropy)


@pytest.fixture
def store(tmp_path):
    return store_in(tmp_path)


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.service)])
def open_store(request, tmp_path):
    """Opens the store, always the same, in files or in a database."""
    if request.param == "sqlite":
        return lambda: store_in(tmp_path)
    url = request.getfixturevalue("database")
    return lambda: store_in(tmp_path, PostgresTexts(url, 0))


def keep(store, person, request_id, fields):
    (commitment,) = store.keep(TENANT, [Text(person, request_id, 0, fields)])
    return commitment


def obtain(keys, tenant=TENANT):
    return keys.obtain_all(tenant, [PERSON])[PERSON]


def all_bytes(folder):
    return b"".join(path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file())


def test_a_commitment_is_an_hmac_of_field_and_value():
    salt = bytes(range(32))
    expected = hmac.new(salt, b"reference\0Rent, May", hashlib.sha256).digest()
    assert commitments.commit("reference", Opening(salt, "Rent, May")) == expected
    assert commitments.combined({"reference": expected}) == expected
    several = hashlib.sha256(b"tallystick/metadata/v1\0" + b"a" * 32 + b"b" * 32).digest()
    assert commitments.combined({"y": b"b" * 32, "x": b"a" * 32}) == several


def test_text_is_kept_under_a_commitment_that_a_retry_has_again(open_store):
    store = open_store()
    commitment = keep(store, PERSON, 1, FIELDS)
    assert keep(store, PERSON, 1, FIELDS) == commitment
    assert keep(open_store(), PERSON, 1, FIELDS) == commitment
    assert keep(store, PERSON, 2, FIELDS) != commitment
    assert keep(store, "other", 1, FIELDS) != commitment
    found = store.opened(TENANT, commitment)
    assert {field: opening.value for field, opening in found.items()} == FIELDS
    commitments.check(commitment, found)
    assert store.opened(TENANT + 1, commitment) is None
    assert store.opened(TENANT, bytes(32)) is None


def test_equal_texts_of_one_request_have_commitments_of_their_own_and_are_kept_together(open_store):
    store = open_store()
    texts = [Text(person, 1, index, FIELDS) for index, person in enumerate((PERSON, PERSON, "p-1"))]
    several = store.keep(TENANT, texts)
    assert len(set(several)) == 3
    assert store.keep(TENANT, texts) == several
    assert keep(store, PERSON, 1, FIELDS) == several[0]  # the first of them, alone
    for commitment in several:
        assert {field: opening.value for field, opening in store.opened(TENANT, commitment).items()} == FIELDS
    assert store.erase(TENANT, PERSON) == 2
    assert [store.opened(TENANT, each) is None for each in several] == [True, True, False]


def test_of_texts_that_come_together_all_are_kept_or_none(store, tmp_path):
    with sqlite3.connect(tmp_path / "texts.db") as database:
        database.execute("CREATE TABLE texts (tenant, commitment, person, sealed)")
        database.execute(
            "CREATE TRIGGER full BEFORE INSERT ON texts WHEN NEW.person = 'p-2'"
            " BEGIN SELECT RAISE(ABORT, 'not this one'); END"
        )
    with pytest.raises(TallystickError):
        store.keep(TENANT, [Text(person, 1, index, FIELDS) for index, person in enumerate(("p-1", "p-2"))])
    with sqlite3.connect(tmp_path / "texts.db") as database:
        assert database.execute("SELECT count(*) FROM texts").fetchone() == (0,)
    assert store.keep(TENANT, [Text("p-1", 1, 0, FIELDS)]), "it cannot be used again"


def test_another_value_field_or_salt_does_not_open_it(store):
    commitment = keep(store, PERSON, 1, FIELDS)
    found = store.opened(TENANT, commitment)
    salt = found["debtor"].salt
    for wrong in (
        {**found, "debtor": Opening(salt, "Ada Byron")},
        {**found, "debtor": Opening(bytes(32), "Ada Lovelace")},
        {"debtor": found["debtor"]},
        {},
    ):
        with pytest.raises(InvalidProof):
            commitments.check(commitment, wrong)


def test_nothing_stands_there_in_clear(store, tmp_path):
    keep(store, PERSON, 1, FIELDS)
    left = all_bytes(tmp_path)
    for value in FIELDS.values():
        assert value.encode() not in left


def test_a_text_that_was_changed_or_moved_is_not_shown(store, tmp_path):
    first, second = keep(store, PERSON, 1, FIELDS), keep(store, PERSON, 2, {"reference": "x"})
    with sqlite3.connect(tmp_path / "texts.db") as database:
        database.execute(
            "UPDATE texts SET sealed = (SELECT sealed FROM texts WHERE commitment = ?) WHERE commitment = ?",
            (second, first),
        )
    with pytest.raises(Corrupt):
        store.opened(TENANT, first)


def test_an_erased_person_cannot_be_opened_any_more_and_others_can(store, tmp_path):
    """Attack 16: with all that is left, and with a backup of before that has no keys."""
    theirs, other = keep(store, PERSON, 1, FIELDS), keep(store, "p-1", 2, FIELDS)
    keys = PersonKeys(tmp_path / "keys", system_entropy)
    key = keys.find(TENANT, PERSON)
    salt = store.opened(TENANT, theirs)["debtor"].salt
    store.close()
    (tmp_path / "backup").mkdir()
    shutil.copy(tmp_path / "texts.db", tmp_path / "backup" / "texts.db")
    assert store.erase(TENANT, PERSON) == 1
    assert store.erase(TENANT, PERSON) == 0
    assert store.opened(TENANT, theirs) is None
    assert store.opened(TENANT, other)["debtor"].value == "Ada Lovelace"
    restored = MetadataStore(SqliteTexts(tmp_path / "backup" / "texts.db"), keys, system_entropy)
    assert restored.opened(TENANT, theirs) is None
    left = all_bytes(tmp_path)
    assert key not in left
    assert salt not in left
    # A key that the person gets later opens nothing of before.
    keep(store, PERSON, 3, FIELDS)
    with pytest.raises(Corrupt):
        store.opened(TENANT, theirs)


def test_after_erasure_a_guess_cannot_be_checked_against_the_commitment(store, tmp_path):
    """Attack 17: the guess is right, and each 32 bytes that are left are tried as salt."""
    fields = {"debtor": "Ada Lovelace"}
    commitment = keep(store, PERSON, 1, fields)
    salt = store.opened(TENANT, commitment)["debtor"].salt
    guess = lambda tried: hmac.digest(tried, b"debtor\0Ada Lovelace", "sha256") == commitment  # noqa: E731
    assert guess(salt)  # whoever has it knows at once
    store.erase(TENANT, PERSON)
    store.close()
    left = all_bytes(tmp_path)
    assert not any(guess(left[at : at + 32]) for at in range(len(left) - 31))
    assert not guess(bytes(32))
    assert hashlib.sha256(b"Ada Lovelace").digest() != commitment


def test_a_key_is_for_its_owner_alone_and_one_of_two_that_are_made_at_once(tmp_path):
    keys = PersonKeys(tmp_path / "keys", system_entropy)
    key = obtain(keys)
    assert obtain(PersonKeys(tmp_path / "keys", system_entropy)) == key
    assert obtain(keys, TENANT + 1) != key
    files = [path for path in (tmp_path / "keys").rglob("*") if path.is_file()]
    assert {path.stat().st_mode & 0o777 for path in files} == {0o600}
    assert PERSON not in "".join(map(str, files))
    files[0].write_bytes(b"short")
    with pytest.raises(Corrupt):
        [keys.find(tenant, PERSON) for tenant in (TENANT, TENANT + 1)]


def test_where_text_cannot_be_kept_that_is_said(tmp_path):
    (tmp_path / "keys").write_text("in the way")
    with pytest.raises(Unavailable):
        keep(store_in(tmp_path), PERSON, 1, FIELDS)


@pytest.mark.parametrize(
    ("fields", "culprit"),
    [
        ({}, "metadata"),
        ({"A": "x"}, "metadata.A"),
        ({"a": ""}, "metadata.a"),
        ({"a": "x" * 1025}, "metadata.a"),
        ({"ok": "fine", "a": "card 4111 1111 1111 1111, thanks"}, "metadata.a"),
        ({"a": "5500-0000-0000-0004"}, "metadata.a"),
        ({f"a{number}": "x" for number in range(17)}, "metadata"),
    ],
)
def test_what_may_not_come_names_its_field(fields, culprit):
    with pytest.raises(Invalid) as found:
        check_fields(fields, "metadata")
    assert found.value.field == culprit


def test_what_is_no_card_number_may_come():
    check_fields({"a": "4111 1111 1111 1112", "b": "DE02120300000000202051", "c": "1234567890128"}, "m")
    check_person("p-4711", "person")
    with pytest.raises(Invalid):
        check_person("Ada Lovelace", "person")
