"""Where text that comes with payments stands in a data folder, and where the persons' keys."""

from tallystick.clock import system_entropy
from tallystick.metadata.keys import PersonKeys
from tallystick.metadata.store import MetadataStore
from tallystick.settings import Settings

PLACE = ("metadata", "texts.db")
KEYS_FOLDER = "person-keys"


def open_texts(settings: Settings) -> MetadataStore:
    """The store of this data folder; its file is made when it is first used."""
    return MetadataStore(settings.path(*PLACE), PersonKeys(settings.person_keys_path, system_entropy), system_entropy)
