"""Where state lives: one storage port, one adapter per database."""
