"""Which addresses a model may make this app connect to: the public internet and nothing else.

A model fetches what a page or a user tells it to, from inside our network, with our network's trust. So the rule is an
allow-list: globally routed unicast, minus what only looks public.
"""

import asyncio
import ipaddress
import socket
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

type Address = ipaddress.IPv4Address | ipaddress.IPv6Address
type Resolve = Callable[[str, int], Awaitable[list[str]]]
"""Turns a host name and a port into addresses; raises OSError when it cannot."""

_GLOBAL_UNICAST = ipaddress.ip_network("2000::/3")
"""The only IPv6 space that IANA hands out; leaves out NAT64 (64:ff9b::/96) and IPv4-mapped addresses, among others."""

_NOT_PUBLIC = tuple(
    ipaddress.ip_network(network)
    for network in (
        "168.63.129.16/32",  # Azure's own platform service, reachable from every machine there
        "192.88.99.0/24",  # 6to4 relays
        "2001::/23",  # protocol assignments, among them Teredo, which embeds an IPv4 address
        "2002::/16",  # 6to4, which embeds an IPv4 address
    )
)


@dataclass(frozen=True, slots=True)
class Network:
    """What may be reached, and how names become addresses.

    Attributes:
        allows: Whether an address may be connected to.
        ports: Ports that may be connected to.
    """

    resolve: Resolve
    allows: Callable[[Address], bool]
    ports: frozenset[int]


def is_public(address: Address) -> bool:
    """Whether an address belongs to the public internet."""
    if isinstance(address, ipaddress.IPv6Address) and address not in _GLOBAL_UNICAST:
        return False
    if any(address.version == network.version and address in network for network in _NOT_PUBLIC):
        return False
    return address.is_global and not (address.is_multicast or address.is_reserved or address.is_unspecified)


async def system_resolve(host: str, port: int) -> list[str]:
    """Ask the operating system, which also reads odd forms such as 2130706433; nothing it says is trusted."""
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


PUBLIC_INTERNET = Network(system_resolve, is_public, frozenset({80, 443, 8080, 8443}))
