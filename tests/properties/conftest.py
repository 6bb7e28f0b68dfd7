"""Queries are asked of projections in SQLite and, as a service, in PostgreSQL."""

from tests.unit.projector.conftest import files, place

__all__ = ["files", "place"]
