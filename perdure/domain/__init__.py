"""Plain data and pure decisions. Nothing here reads a clock, a store or a network."""
