"""What the relay's process makes of its settings, and what a backup has of it."""

import pytest

from tallystick.blockfile.disk import SystemDisk
from tallystick.blockfile.slots import Slots
from tallystick.clock import SystemClock
from tallystick.compose import backup, relay
from tallystick.compose.following import alone
from tallystick.compose.journals import Place
from tallystick.compose.library import Ledger
from tallystick.errors import Fenced, Invalid
from tallystick.journal.follow import Follower
from tallystick.records.objects import Account
from tallystick.relay.sending import Sending
from tallystick.settings import Settings


class Topic:
    def __init__(self):
        self.kept = []

    def connect(self):
        """Always."""

    def send(self, events):
        self.kept += events
        return 0


@pytest.mark.parametrize(
    ("value", "told"),
    [
        ("", "is not set"),
        ("files", "begins with none"),
        ("kafka://broker/a b", "is no name"),
        ("kafka://broker/events?partitions=0", "partitions=0 is no number"),
        ("rabbitmq://broker/events?partitions=3", r"\?partitions is not known"),
    ],
)
def test_a_setting_that_makes_no_sense_is_named(value, told):
    with pytest.raises(Invalid, match=told) as caught:
        relay.address(Settings(relay=value))
    assert caught.value.field == "TALLY_RELAY"


def test_the_password_is_shown_nowhere():
    settings = Settings(relay="kafka://me:hunter2@broker/bank.events")
    assert "hunter2" not in repr(settings) + repr(relay.address(settings)) + str(relay.address(settings))


def test_each_topic_and_exchange_has_a_cursor_of_its_own_whatever_its_brokers_are_called():
    def path(value):
        settings = Settings(relay=value)
        return relay.cursor_path(settings, relay.address(settings))

    one = path("kafka://a,b/bank.events")
    assert path("kafka://me:new@c:99/bank.events?tls=on") == one
    assert len({one, path("kafka://a/bank.more"), path("rabbitmq://a/bank.events")}) == 3


def test_a_restored_relay_goes_on_where_the_backup_was(tmp_path):
    settings = Settings(data=tmp_path / "data", relay="kafka://broker/bank.events")
    where, disk, clock = relay.address(settings), SystemDisk(), SystemClock()
    ledger = Ledger.open(settings.data)

    def follow(data):
        own = settings.model_copy(update={"data": data})
        path, topic = relay.cursor_path(own, where), Topic()
        disk.make_folder(path.parent)
        journal = Place.of(own).reader(disk)
        sending = Sending(topic, lambda: Slots(path, disk), "https://example.org", 0, clock)
        follower = Follower(journal, sending, clock)
        while not follower.step():
            pass
        sending.close()
        journal.close()
        return topic.kept

    ledger.create_accounts([Account(id=1, ledger=978, code=1), Account(id=2, ledger=978, code=1)])
    assert len(follow(settings.data)) == 2
    backup.make(settings, tmp_path / "backup", to_move=False)
    ledger.close()
    backup.restore(tmp_path / "backup", tmp_path / "restored")
    assert follow(tmp_path / "restored") == []


def test_a_folder_does_not_move_while_its_relay_runs(tmp_path):
    settings, disk = Settings(data=tmp_path / "data"), SystemDisk()
    ledger = Ledger.open(settings.data)
    ledger.create_accounts([Account(id=1, ledger=978, code=1)])
    ledger.close()
    for name in ("intake", "run", "relay"):
        disk.make_folder(settings.path(name))
    with alone(disk, settings.path("run"), relay.NAME), pytest.raises(Fenced, match="in use"):
        backup.make(settings, tmp_path / "backup", to_move=True)
