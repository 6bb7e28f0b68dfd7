"""The notifier's tables in PostgreSQL: a schema for each shard, which its owner alone may see."""
