"""The bytes: exact layouts of what travels and what is kept. Pure; knows no file, no network, no ledger rule.

`commands` is what was asked, `entries` what was decided, `details` the private part of a decision, `blocks` the
durable unit of either. `layouts` renders them as the table in docs/records.md, which the tests read.
"""
