"""What must be settled before anything compiled is imported, and once for all workers."""

from pathlib import Path

import pytest
from hypothesis import settings

from tests import kernels  # before anything that imports Numba

from services.fixtures import (  # isort: skip
    database,
    kafka_cluster,
    kafka_url,
    network,
    own_kafka,
    own_postgresql,
    own_rabbitmq,
    own_rabbitmq4,
    postgresql_url,
    rabbitmq4_url,
    rabbitmq_url,
    services_folder,
    small_disk,
)

__all__ = [
    "database",
    "kafka_cluster",
    "kafka_url",
    "network",
    "own_kafka",
    "own_postgresql",
    "own_rabbitmq",
    "own_rabbitmq4",
    "postgresql_url",
    "rabbitmq4_url",
    "rabbitmq_url",
    "services_folder",
    "small_disk",
]
"""Real servers, where they can be had (services/)."""

SERVICE = ("e2e", "docs/test_guides.py", "docs/test_snippets.py", "docs/test_webhooks.py", "faults/notifier")
"""Below tests/: whole platforms again and again. `make test` is for between two edits; `make test-all` runs these."""
THIN = ("e2e/gateway/test_with_engine.py",)
"""Of these, the thin walk of a payment through real processes, which `make test` runs too."""

# A busy machine is no failure; the seed that failed is printed.
settings.register_profile("tallystick", deadline=None, print_blob=True)
settings.load_profile("tallystick")


def is_service(path):
    """Whether all tests of this file are services' by `SERVICE`."""
    here = Path(__file__).parent
    places, thin = (tuple(str(here / part) for part in parts) for parts in (SERVICE, THIN))
    return str(path).startswith(places) and not str(path).startswith(thin)


def pytest_ignore_collect(collection_path, config):
    """Not even read what would only be left out: a fifth of all tests."""
    if config.option.markexpr == "not service" and collection_path.is_file() and is_service(collection_path):
        return True
    return None  # others decide


def pytest_collection_modifyitems(items):
    """Mark what `SERVICE` names."""
    for item in items:
        if is_service(item.path):
            item.add_marker(pytest.mark.service)


def pytest_configure(config):
    """Compile once before several workers start, or each of them would, at the same time."""
    several = getattr(config.option, "numprocesses", None)
    if several and not hasattr(config, "workerinput"):
        kernels.compile_all()  # if it cannot, the tests say why
