"""Tells tenants of their entries by signed webhooks, and keeps at it until they have been told.

A follower of the journal: what it has not told yet can never be lost, since the journal has it.
"""
