"""The ledger: a function from books and a block of commands to outcomes. Pure and compiled.

It reads no clock, draws no randomness, does no I/O. Start reading at `kernel.decide`.
"""
