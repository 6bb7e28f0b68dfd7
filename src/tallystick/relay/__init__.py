"""Tells everybody else: each entry that is told of goes to a broker as a CloudEvent, at least once and in order.

A follower of the journal: what it has not sent yet can never be lost, since the journal has it.
"""
