"""Bytes to events and back, sans-IO: no socket, clock, randomness, log or file in here."""
