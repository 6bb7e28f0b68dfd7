"""Every setting, its default and its meaning; the only module that reads the environment.

Environment variables carry the prefix `TALLY_`, lines of `tally.toml` do not; docs/configuration.md is generated
from here.
"""

import os
import tomllib
from pathlib import Path

from pydantic import Field, field_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict, TomlConfigSettingsSource

from tallystick.errors import Invalid

FILE = Path("tally.toml")
"""Read where a process starts, if it is there."""
FILE_VARIABLE = "TALLY_CONFIG"
"""Names another file, which must be there."""
LINEAR_ALGEBRA_THREADS = "OPENBLAS_NUM_THREADS"
"""Read by OpenBLAS, which NumPy's wheels bring along."""

SEGMENT_BYTES_MIN = 6_291_456
"""What surely holds a block of 8,190 outcomes and as many expiries (`records.blocks.BLOCK_SIZE_MAX`)."""
LANE_SEGMENT_BYTES_MIN = 2_097_152
"""What holds a block of 8,190 commands: an engine or gateway with smaller ones would stop for good at a large one."""


class Settings(BaseSettings):
    """A platform, or one shard of it, on one machine."""

    model_config = SettingsConfigDict(env_prefix="TALLY_", frozen=True)

    data: Path = Field(default=Path("tally-data"), description="Folder of everything that is kept.")
    shard: int = Field(default=0, ge=0, le=65535, description="Number of this shard.")
    shards: int = Field(
        default=1,
        ge=1,
        le=256,
        description="How many shards `tally up` runs behind its gateways ([shards](shards.md)).",
    )

    journal: str = Field(
        default="files",
        repr=False,  # a URL may hold a password
        description="Where entries are kept: files, or the URL of a PostgreSQL database, postgresql://….",
    )
    services: str = Field(
        default="files",
        repr=False,
        description="Where projector and notifier keep their tables, and where acts and sealed text stand: files, or "
        "the URL of a PostgreSQL database, postgresql://… ([PostgreSQL](postgresql.md)).",
    )
    services_reader: str = Field(
        default="", description="Role of that database that may query the projector's views; empty: none."
    )
    standby: bool = Field(
        default=False,
        description="Wait while another engine holds the shard's journal in PostgreSQL, and take over when it is gone.",
    )
    intake: str = Field(
        default="files",
        repr=False,
        description="Where requests are queued: `files`, `kafka://host:port/name` or `rabbitmq://…` "
        "([brokers](brokers.md)).",
    )

    relay: str = Field(
        default="",
        repr=False,
        description="Where every outcome is sent as a CloudEvent: `kafka://host:port/topic` or "
        "`rabbitmq://host:port/exchange` ([relay](guides/relay.md)); empty: nowhere.",
    )

    http_host: str = Field(default="127.0.0.1", description="Address the gateway listens on.")
    http_port: int = Field(
        default=7400, ge=0, le=65535, description="Port the gateway listens on; further ones take those after it."
    )
    followers: str = Field(
        default="projector notifier signer auditor",
        description="Which followers `tally up` runs, parted by blanks.",
    )
    followers_idle: bool = Field(
        default=True,
        description="Followers of `tally up` run only while nothing else wants a processor; false: they are nice.",
    )
    followers_share: float = Field(
        default=0.0,
        ge=0.0,
        le=1.0,
        description="How much of its speed a projector or notifier that is far behind takes while payments come in; "
        "1: all of it; 0: 0.03 on up to three processors, where payments would feel more, else 1.",
    )
    gateways: int = Field(default=1, ge=1, le=64, description="How many gateways `tally up` runs.")
    keys_file: Path | None = Field(
        default=None, description="File of API key hashes; default keys.json in the data folder."
    )
    body_bytes_max: int = Field(default=4_194_304, ge=1024, description="Largest HTTP body accepted.")
    wait_s: float = Field(
        default=2.0, gt=0, le=30, description="How long a request waits for its outcome unless it says."
    )
    undecided_max: int = Field(
        default=100_000, ge=1, description="Undecided commands a tenant may have in a lane; then 429."
    )
    queue_age_s_max: float = Field(
        default=60.0, gt=0, description="Age of the oldest undecided request; beyond it 503."
    )
    disk_free_min: float = Field(
        default=0.10, ge=0, lt=1, description="Share of the disk that must be free; below it 503."
    )

    accounts_max: int = Field(default=16_000_000, ge=1, description="Accounts the books have room for.")
    pendings_max: int = Field(
        default=4_000_000, ge=1, description="Open pending transfers the books have room for; then they are refused."
    )
    window_ids: int = Field(default=1_000_000, ge=16, description="Ids in one of the two generations of the id window.")
    segment_bytes: int = Field(
        default=67_108_864,
        ge=SEGMENT_BYTES_MIN,
        multiple_of=512,
        description="Size of a journal segment; the largest block must fit.",
    )
    lane_segment_bytes: int = Field(
        default=16_777_216,
        ge=LANE_SEGMENT_BYTES_MIN,
        multiple_of=512,
        description="Size of an intake segment; the largest block must fit.",
    )
    scrub_bytes_s: int = Field(
        default=1_048_576,
        ge=0,
        description="Bytes a second of the journal read again in the background to find damage; 0: none.",
    )
    intake_retention_s: float = Field(default=86_400.0, ge=0, description="How long decided intake blocks are kept.")
    log_origin: str = Field(
        default="tallystick.example/ledger",
        pattern=r"^[^+\s]{1,200}$",
        description="Name of the audit log, a URL without scheme; the shard's number is appended.",
    )
    log_policy: Path | None = Field(
        default=None,
        description="Policy whose witnesses are asked to cosign our log (c2sp.org/tlog-policy, with URLs).",
    )
    archive: str | None = Field(
        default=None,
        description="Folder, best on another disk, or s3://BUCKET/PREFIX, to which the auditor copies each block "
        "before a checkpoint covers it; a restored journal rolls forward from there. None: no archive.",
    )
    archive_endpoint: str = Field(
        default="", description="URL of the object store, for an archive in a bucket, such as https://s3.example.com."
    )
    archive_access_key: str = Field(default="", description="Who writes there.")
    archive_secret_file: Path | None = Field(default=None, description="File that holds its secret.")
    archive_region: str = Field(default="us-east-1", description="As the object store calls it.")
    person_keys: Path | None = Field(
        default=None,
        description="Folder of the persons' keys, which text that comes with payments is encrypted by; default "
        "person-keys in the data folder. No backup of ours holds it, and none may.",
    )
    witness_name: str = Field(
        default="witness.example/tally",
        pattern=r"^[^+\s]{1,200}$",
        description="Name of the witness that `tally up witness` runs, a URL without scheme.",
    )
    witness_host: str = Field(default="127.0.0.1", description="Address the witness listens on.")
    witness_port: int = Field(default=7480, ge=0, le=65535, description="Port the witness listens on.")
    kernel_cache: Path | None = Field(
        default=None, description="Folder of compiled code; default in the user's cache folder."
    )
    webhook_loopback: bool = Field(
        default=False,
        description="Let webhooks go to this machine itself, by http too; for development only: whoever may subscribe "
        "then reaches what listens here.",
    )
    webhook_timeout_s: float = Field(
        default=15.0, gt=0, le=120, description="How long a receiver may take to answer a webhook."
    )
    webhook_hands: int = Field(
        default=16, ge=1, le=256, description="Webhooks on their way to one subscription at a time."
    )
    webhook_failing_s_max: float = Field(
        default=432_000.0, gt=0, description="How long a subscription may do nothing but fail; then it is disabled."
    )
    webhook_retention_s: float = Field(
        default=2_592_000.0, gt=0, description="How long deliveries that ended, and their attempts, can be looked up."
    )

    accept_clock: bool = Field(default=False, description="Start although the clock is over 24 h ahead of the journal.")
    clock_offset_file: Path | None = Field(
        default=None, description="File of 8 bytes by which the wall clock is put off, in ns; for tests only."
    )

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """What the caller gives comes before the environment, and that before the file.

        Raises `Invalid` for a file that is named and not there, or that is not TOML.
        """
        return init_settings, env_settings, _in_file(settings_cls)

    @field_validator("archive", mode="before")
    @classmethod
    def _as_text(cls, value: object) -> object:
        return str(value) if isinstance(value, Path) else value

    @field_validator("journal")
    @classmethod
    def _is_a_journal(cls, value: str) -> str:
        if value in ("files", "memory") or value.startswith(("postgresql://", "postgres://")):
            return value
        raise ValueError("must be files, or the URL of a database, postgresql://…")

    @field_validator("services")
    @classmethod
    def _is_a_place(cls, value: str) -> str:
        if value == "files" or value.startswith(("postgresql://", "postgres://")):
            return value
        raise ValueError("must be files, or the URL of a database, postgresql://…")

    def path(self, *parts: str) -> Path:
        """A path inside the data folder."""
        return self.data.joinpath(*parts)

    @property
    def log_origin_of_shard(self) -> str:
        """Origin of this shard's log, and name of its keys."""
        return f"{self.log_origin}/{self.shard}"

    def log_origin_of(self, log: str) -> str:
        """Origin of one of this shard's logs: the `ledger`, or a log of acts."""
        return self.log_origin_of_shard if log == "ledger" else f"{self.log_origin_of_shard}/{log}"

    @property
    def person_keys_path(self) -> Path:
        """Where the persons' keys stand."""
        return self.person_keys or self.path("person-keys")

    @property
    def keys_path(self) -> Path:
        """Where the API key hashes stand."""
        return self.keys_file or self.path("keys.json")


def keep_to_one_thread() -> None:
    """Tell the linear algebra below NumPy, before that is loaded, that this process and its children need one thread.

    By itself OpenBLAS starts one for each further processor, which spins for some 40 ms before it sleeps: a follower
    that started held up the kernel's thread for the disk, and by it payments, for 4 to 8 ms at a time (ADR 0015).
    Nothing here multiplies matrices that are large enough. What the environment says already, stays.
    """
    os.environ.setdefault(LINEAR_ALGEBRA_THREADS, "1")


def settings_file() -> Path:
    """The file of settings, be it there or not."""
    return Path(os.environ.get(FILE_VARIABLE) or FILE)


def place_of(name: str) -> str:
    """Where a setting comes from that makes no sense, to be told: its variable, or its line of the file."""
    variable = f"{Settings.model_config.get('env_prefix')}{name}".upper()
    return variable if variable in os.environ else f"{name} in {settings_file()}"


def _in_file(settings: type[BaseSettings]) -> TomlConfigSettingsSource:
    path = settings_file()
    if FILE_VARIABLE in os.environ and not path.is_file():
        raise Invalid(FILE_VARIABLE, f"there is no file {path}")
    try:
        return TomlConfigSettingsSource(settings, path)
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise Invalid(str(path), f"cannot be read as TOML: {error}") from error


CLIENT_VARIABLES = frozenset({"TALLY_URL", "TALLY_API_KEY"})
"""Read by commands that talk to a gateway."""


def unknown_variables() -> list[str]:
    """Environment variables with our prefix that nothing reads: most likely a setting that was misspelt."""
    prefix = str(Settings.model_config.get("env_prefix"))
    known = {f"{prefix}{name}".upper() for name in Settings.model_fields} | CLIENT_VARIABLES | {FILE_VARIABLE}
    return sorted(name for name in os.environ if name.startswith(prefix) and name not in known)
