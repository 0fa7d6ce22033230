"""Ids as Azure Cosmos DB takes them.

It refuses `/ \\ ? #` and the empty id, its clients and gateways differ over `%`, `+`, spaces and dots in a path, and
what is not ASCII sorts differently in different places. Every such byte is written as `~` and two hexadecimal digits,
each character for itself, so that the form of a prefix is a prefix of the form. Letters, digits and `- _ : @` stay as
they are, and ids of those sort as they did.
"""

import hashlib
import re

MAX_BYTES = 1023
"""Azure Cosmos DB's limit for an id."""

EMPTY = "~"
"""The empty id. No other is written so: a tilde in an id is written `~7E`."""


def escape(id: str) -> str:
    """Write an id, or the beginning of one, as Azure Cosmos DB takes it."""
    return re.sub(r"[^A-Za-z0-9_:@-]", lambda match: "".join(f"~{byte:02X}" for byte in match[0].encode()), id)


def key(id: str) -> str:
    """Write a whole id as Azure Cosmos DB takes it.

    No document has an id that is too long, so an id that is stands for nothing: for one that `escape` never writes.
    """
    escaped = escape(id) or EMPTY
    return escaped if len(escaped) <= MAX_BYTES else f"~~{hashlib.sha256(escaped.encode()).hexdigest()}"


def unescape(escaped: str) -> str:
    """Read an id back."""
    if escaped == EMPTY:
        return ""
    return re.sub(r"(?:~[0-9A-F]{2})+", lambda match: bytes.fromhex(match[0].replace("~", "")).decode(), escaped)
