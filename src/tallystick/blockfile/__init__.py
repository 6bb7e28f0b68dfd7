"""Append-only checksummed segments: the one mechanism under the intake's and the journal's files (DESIGN §6)."""
