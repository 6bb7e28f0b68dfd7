"""Which intake the settings name: block files, or a broker's queues. Each is imported only where it is wanted."""

from tallystick.blockfile.disk import Disk
from tallystick.brokers.address import Address, parse
from tallystick.clock import Clock, Entropy
from tallystick.errors import Invalid
from tallystick.intake.files import FileIntake
from tallystick.intake.port import Intake
from tallystick.settings import Settings

SETTING = "TALLY_INTAKE"
OPTIONS = {"kafka": frozenset({"mechanism"}), "rabbitmq": frozenset[str]()}
"""By scheme, what an address may say beside what every broker's may: how to log in, by SCRAM-SHA-256 unless it says."""
CLAIMS = ("run", "lanes")
PARTITIONS_MIN = 8


def open_intake(settings: Settings, disk: Disk, clock: Clock, entropy: Entropy) -> Intake:
    """The intake of this shard. Raises `Unavailable` if a broker does not answer, `Invalid` for settings that make no
    sense or under which acknowledged requests could be lost, each named.
    """
    if settings.intake == "files":
        return FileIntake(
            settings.path("intake"),
            disk,
            clock,
            entropy,
            settings.lane_segment_bytes,
            settings.intake_retention_s,
            settings.shard,
        )
    where = address(settings)
    if where.scheme == "kafka":
        return _kafka(where, settings, disk, clock)
    return _rabbitmq(where, settings, clock, entropy)


def address(settings: Settings) -> Address:
    """Where a broker's intake is. Raises `Invalid` that says what is wrong with the setting; nobody is asked."""
    scheme = settings.intake.partition("://")[0]
    if scheme not in OPTIONS:
        raise Invalid(SETTING, f"{scheme} is none of files, kafka://…, rabbitmq://…")
    return parse(settings.intake, SETTING, OPTIONS[scheme])


def keeps_decided(settings: Settings) -> bool:
    """Whether the intake keeps blocks that are journaled, and so may wait for an archive to have them, too."""
    return not settings.intake.startswith("rabbitmq://")


def _kafka(where: Address, settings: Settings, disk: Disk, clock: Clock) -> Intake:
    try:
        from tallystick.intake.kafka import KafkaIntake
    except ModuleNotFoundError as error:
        raise Invalid(SETTING, "kafka:// needs a package more: pip install 'tallystick[kafka]'") from error
    # A gateway has one lane of each sort; while one is in doubt, another.
    partitions = max(PARTITIONS_MIN, 2 * settings.gateways)
    return KafkaIntake(
        where, settings.path(*CLAIMS), disk, clock, settings.intake_retention_s, settings.shard, partitions
    )


def _rabbitmq(where: Address, settings: Settings, clock: Clock, entropy: Entropy) -> Intake:
    try:
        from tallystick.intake.rabbitmq import RabbitIntake
    except ModuleNotFoundError as error:
        raise Invalid(SETTING, "rabbitmq:// needs a package more: pip install 'tallystick[rabbitmq]'") from error
    return RabbitIntake(where, clock, entropy, settings.shard)
