"""Decisions as pure functions: no socket, clock, randomness, log or file in here."""
