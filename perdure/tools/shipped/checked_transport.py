"""An httpx transport that connects only where a `Network` allows.

1. Resolve the host once.
2. Check every address it has: one forbidden address refuses the host.
3. Connect to a checked address itself, so that no second look-up can answer otherwise (DNS rebinding).

It sits below the client, so redirects pass through it like everything else.
"""

import ipaddress

import httpx

from perdure.tools.shipped.addresses import Network
from perdure.tools.tool import ToolError

CONNECT_SECONDS = 5.0
"""Per address; a host often has an IPv6 address that does not answer from here, and the next one does."""

READ_SECONDS = 15.0

_DEFAULT_PORTS = {"http": 80, "https": 443}


class CheckedTransport(httpx.AsyncBaseTransport):
    """Sends each request to an address it has checked.

    Raises:
        ToolError: The address is not one a model may reach, or the name has none.
    """

    def __init__(self, network: Network) -> None:
        self._network = network
        # No connection is kept: a kept one belongs to an address, and the next host at that address would be
        # answered over it without its own certificate having been checked.
        self._inner = httpx.AsyncHTTPTransport(trust_env=False, limits=httpx.Limits(max_keepalive_connections=0))

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Check where a request leads, and send it there."""
        host, port = self._destination(request.url)
        failure: httpx.TransportError | None = None
        for address in await self._addresses(host, port):
            pinned = httpx.Request(
                request.method,
                request.url.copy_with(host=address),
                headers=request.headers,  # with the Host header of the name
                stream=request.stream,
                # The name is what the certificate must be for.
                extensions={**request.extensions, "sni_hostname": host},
            )
            try:
                return await self._inner.handle_async_request(pinned)
            except (httpx.ConnectError, httpx.ConnectTimeout) as error:
                failure = error
        raise failure or httpx.ConnectError(f"{host} has no address")

    async def aclose(self) -> None:
        """Close what is open."""
        await self._inner.aclose()

    def _destination(self, url: httpx.URL) -> tuple[str, int]:
        if url.scheme not in _DEFAULT_PORTS:
            raise ToolError(f"Only http and https addresses can be fetched, not {url.scheme[:20]}.")
        if url.userinfo:
            raise ToolError("The URL contains a user name or password; fetch it without.")
        port = _DEFAULT_PORTS[url.scheme] if url.port is None else url.port
        if port not in self._network.ports:
            allowed = ", ".join(str(allowed) for allowed in sorted(self._network.ports))
            raise ToolError(f"Port {port} cannot be fetched from; the ports allowed are {allowed}.")
        return url.raw_host.decode("ascii"), port

    async def _addresses(self, host: str, port: int) -> list[str]:
        try:
            addresses = await self._network.resolve(host, port)
            checked = [ipaddress.ip_address(address) for address in addresses]
        except (OSError, ValueError) as error:
            raise ToolError(f"The host {host[:100]} could not be found; check its spelling.") from error
        if not all(self._network.allows(address) for address in checked):
            # Which address it is stays untold: the model has no business mapping our network.
            raise ToolError(f"The host {host} is not on the public internet, and only that can be fetched.")
        return addresses
