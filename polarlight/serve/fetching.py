"""Fetching a file from an address that a client names, without becoming the client's arm inside the operator's network.

The name is resolved once, every address it has must be public, and the connection goes to the address that was checked, so
that a name that changes its mind in between (DNS rebinding) gains nothing. Redirects are followed by the same rule.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from urllib.parse import SplitResult, urljoin, urlsplit

from polarlight.base.errors import UserError

from .objects import ContentTooLarge
from .options import Options

REDIRECTS = 3
PORTS = {"http": 80, "https": 443}


async def fetch(url: str, options: Options) -> bytes:
    """The bytes at an http(s) address.

    Raises:
        UserError: the address is not public, cannot be reached, answers with an error, or takes longer than `fetch_s`.
        ContentTooLarge: there are more than `fetch_bytes`.
    """
    try:
        async with asyncio.timeout(options.fetch_s):
            for _ in range(REDIRECTS + 1):
                content, url = await _get(url, options)
                if content is not None:
                    return content
    except TimeoutError as error:
        raise UserError(
            f"The address did not answer within {options.fetch_s:g} seconds.", fix="Send the file."
        ) from error
    raise UserError("The address redirects too often.", fix="Give the file's own address.")


async def _get(url: str, options: Options) -> tuple[bytes | None, str]:
    """The bytes at an address, or None and where it redirects to."""
    import httpx

    parts = _checked_parts(url)
    host, port = parts.hostname or "", parts.port or PORTS[parts.scheme]
    address = await public_address(host, port, options.allow_private_addresses)
    literal = f"[{address}]" if ":" in address else address
    target = parts._replace(netloc=f"{literal}:{port}", fragment="").geturl()
    headers = {"host": host if parts.port is None else f"{host}:{port}", "accept": "*/*"}
    try:
        async with httpx.AsyncClient(trust_env=False, follow_redirects=False, timeout=options.fetch_s) as client:
            request = client.stream("GET", target, headers=headers, extensions={"sni_hostname": host})
            async with request as answer:
                if answer.is_redirect:
                    return None, urljoin(url, answer.headers.get("location", ""))
                if answer.status_code != 200:
                    raise UserError(f"The address answered {answer.status_code}.", fix="Check the address.")
                content = bytearray()
                async for part in answer.aiter_bytes():
                    content += part
                    if len(content) > options.fetch_bytes:
                        most = f"The file at the address is larger than {options.fetch_bytes} bytes."
                        raise ContentTooLarge(most, fix="Send a smaller file.")
                return bytes(content), url
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise UserError("The address cannot be reached.", fix="Check the address, or send the file.") from error


async def public_address(host: str, port: int, allow_private: bool) -> str:
    """The first address of a host, when every address it has may be connected to.

    Raises:
        UserError: the host is unknown, or one of its addresses is not public.
    """
    try:
        found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise UserError("The host of the address is not known.", fix="Check the address.") from error
    addresses = [str(each[4][0]) for each in found]
    if not allow_private and not all(map(is_public, addresses)):
        raise UserError("The address is not a public one.", fix="Send the file itself, or upload it first.")
    return addresses[0]


def is_public(address: str) -> bool:
    """Whether an IP address is on the open internet, whatever it is wrapped in."""
    ip = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(ip, ipaddress.IPv6Address):
        inner = ip.ipv4_mapped or ip.sixtofour or (ip.teredo[1] if ip.teredo else None)
        nat64 = ip in ipaddress.ip_network("64:ff9b::/96")
        if inner is not None or nat64:
            return is_public(str(inner or ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)))
    return ip.is_global and not ip.is_multicast


def _checked_parts(url: str) -> SplitResult:
    try:
        parts = urlsplit(url)
        connectable = parts.port != 0  # a port above 65,535 raises
    except ValueError as error:
        raise UserError("The address cannot be read.", fix="Write https://...") from error
    if not connectable or parts.scheme not in PORTS or not parts.hostname or parts.username or parts.password:
        raise UserError("The address is not http or https, or it carries a password.", fix="Write https://...")
    return parts
