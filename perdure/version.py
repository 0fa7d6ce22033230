"""The version of Perdure."""

VERSION = "0.1.0"
