"""Where one shard's webhooks are kept: a file in the data folder, or a database."""

from tallystick.compose import services
from tallystick.notifier.port import Tables
from tallystick.notifier.schema import FILE
from tallystick.settings import Settings


def open_tables(settings: Settings) -> Tables:
    """The notifier's tables as the settings say, made if missing; one process may have them.

    Raises `Unavailable`, `Corrupt`; `Invalid` if the driver is missing, or a file that was in use is left behind.
    """
    if settings.services == services.FILES:
        from tallystick.notifier.sqlite import SqliteTables

        services.refuse_moved(settings.path(*FILE))
        return SqliteTables(settings.path(*FILE))
    services.needs_driver()
    services.refuse_left_behind(settings.path(*FILE))
    from tallystick.notifier.postgresql.tables import PostgresTables

    return PostgresTables(settings.services, settings.shard)
