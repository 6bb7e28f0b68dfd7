"""`tally torture`: clients and wounds at the same time, and afterwards the judge (`lab.history`).

`orders` makes up what is asked, `answers` understands what is told, `clients` asks and notes both, `wounds` hurts the
platform, `run` brings them together.
"""
