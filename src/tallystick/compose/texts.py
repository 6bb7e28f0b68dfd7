"""Where text that comes with payments stands: in a data folder or a database; and where the persons' keys: in a folder.

Keys are never in the database: what it deletes stays in its logs, standbys and backups, and an erasure would be none.
"""

from tallystick.clock import system_entropy
from tallystick.compose import services
from tallystick.metadata.keys import PersonKeys
from tallystick.metadata.port import SealedTexts
from tallystick.metadata.store import MetadataStore
from tallystick.settings import Settings

PLACE = ("metadata", "texts.db")
KEYS_FOLDER = "person-keys"


def open_texts(settings: Settings) -> MetadataStore:
    """The store as the settings say; it is made when it is first used.

    Raises `Invalid` if the driver is missing, or a file that was in use is left behind.
    """
    return MetadataStore(_sealed(settings), PersonKeys(settings.person_keys_path, system_entropy), system_entropy)


def _sealed(settings: Settings) -> SealedTexts:
    if settings.services == services.FILES:
        from tallystick.metadata.sqlite import SqliteTexts

        services.refuse_moved(settings.path(*PLACE))
        return SqliteTexts(settings.path(*PLACE))
    services.needs_driver()
    services.refuse_left_behind(settings.path(*PLACE))
    from tallystick.metadata.postgresql import PostgresTexts

    return PostgresTexts(settings.services, settings.shard)


def copy(old: Settings, new: Settings, tenant: int) -> None:
    """Copy a tenant's texts to another shard, as they are: the persons' keys are the platform's. Durable on return."""
    if old.services == services.FILES and not old.path(*PLACE).exists():
        return
    source, target = _sealed(old), _sealed(new)
    try:
        for rows in source.of_tenant(tenant):
            target.keep(rows)
    finally:
        source.close()
        target.close()
