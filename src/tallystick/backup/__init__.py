"""Copies of a data folder made while it is in use, and data folders made of such copies. Knows no money."""
