"""Deterministic generators. They yield and decide, nothing else: no clock, no store, no model, no randomness."""
