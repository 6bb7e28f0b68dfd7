"""The projector's tables in PostgreSQL: a schema for each shard, and beside it one of views for people to query."""
