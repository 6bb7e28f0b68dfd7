"""The suites that every adapter must pass, shipped for adapter authors: subclass one, override its fixtures."""
