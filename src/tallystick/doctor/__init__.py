"""Looks at a machine and a data folder, running or not, and says what to fix. Changes nothing that stays."""
