"""What a browser gives when it asks to be told (RFC 8030, RFC 8291): judged without a look at the network."""

from __future__ import annotations

import base64
import re
from ipaddress import IPv4Address, IPv6Address, IPv6Network

LONGEST_ENDPOINT = 1000
POINT_BYTES, SECRET_BYTES = 65, 16
PRIVATE_ENDS = frozenset(
    {"localhost", "local", "internal", "intranet", "lan", "home", "corp", "private", "localdomain", "arpa", "onion"}
)
"""RFC 6761, RFC 6762, RFC 8375 and what people call their own networks."""
# Stricter than any parser of addresses, so that no two of them can read one address differently.
_REST = r"(?P<port>:[0-9]{1,5})?(?:[/?][\x21\x22\x24-\x5b\x5d-\x7e]*)?"
_PUBLIC = re.compile(rf"https://(?P<host>[A-Za-z0-9.-]{{1,253}}){_REST}")
_LOOPBACK = re.compile(rf"https?://(?P<host>127\.0\.0\.1|localhost|\[::1\]){_REST}")
_LABEL = re.compile(r"(?!-)[a-z0-9-]{1,63}(?<!-)")
_BASE64URL = re.compile(r"[A-Za-z0-9_-]+={0,2}")
_SAME_AS_V4 = IPv6Network("64:ff9b::/96")
"""RFC 6052: the last 32 bits are an IPv4 address behind a translator."""
# FIPS 186-4, D.1.2.3: y² = x³ − 3x + b over the field of P.
_P = 2**256 - 2**224 + 2**192 + 2**96 - 1
_B = 0x5AC635D8AA3A93E7B3EBBD55769886BC651D06B0CC53B0F63BCE3C3E27D2604B
AGAIN = "let the browser subscribe again and send what PushSubscription.toJSON() gives"


class Unusable(ValueError):
    """A subscription to which nothing can be sent; ``field`` names what is wrong with it."""

    def __init__(self, message: str, field: str) -> None:
        super().__init__(message)
        self.field = field


def check(endpoint: str, p256dh: str, auth: str, *, loopback: bool = False) -> None:
    """Raise Unusable unless this can be sent to; ``loopback`` allows a push service on this machine, for tests."""
    check_endpoint(endpoint, loopback=loopback)
    point(p256dh)
    secret(auth)


def check_endpoint(endpoint: str, *, loopback: bool = False) -> None:
    """An https address on a public host name: what a browser names is an address that we post to."""
    if len(endpoint) > LONGEST_ENDPOINT:
        told = f"{len(endpoint)} characters"
        raise Unusable(f"endpoint must be at most {LONGEST_ENDPOINT} characters, was {told}: {AGAIN}", "endpoint")
    if loopback and _LOOPBACK.fullmatch(endpoint):
        return
    found = _PUBLIC.fullmatch(endpoint)
    if found is None:
        start = re.split(r"[^\w:/.\[\]-]", endpoint, maxsplit=1)[0][:60]
        raise Unusable(f"endpoint must be an https:// address of a push service, was {start!r}…: {AGAIN}", "endpoint")
    host, port = found["host"].lower(), found["port"]
    if port is not None and not 0 < int(port[1:]) < 65536:
        raise Unusable(f"endpoint must have a port of 1 to 65535, was {port[1:]}: {AGAIN}", "endpoint")
    labels = host.split(".")
    named = len(labels) > 1 and all(_LABEL.fullmatch(one) for one in labels) and labels[-1][:1].isalpha()
    if not named or labels[-1] in PRIVATE_ENDS:
        raise Unusable(
            f"endpoint must be on a public host name, no bare address and no name of a private network, was {host!r}: "
            f"{AGAIN}",
            "endpoint",
        )


def point(p256dh: str) -> bytes:
    """The browser's public key: an uncompressed point of P-256 (RFC 8291 section 2)."""
    raw = _raw(p256dh, "keys.p256dh")
    x, y = int.from_bytes(raw[1:33], "big"), int.from_bytes(raw[33:], "big")
    if len(raw) != POINT_BYTES or raw[0] != 4:
        told = f"{len(raw)} bytes beginning with {raw[0]:#04x}"
        wanted = f"an uncompressed point of {POINT_BYTES} bytes beginning with 0x04"
        raise Unusable(f"keys.p256dh must be {wanted}, was {told}: {AGAIN}", "keys.p256dh")
    if x >= _P or y >= _P or (y * y - (x * x * x - 3 * x + _B)) % _P:
        raise Unusable(f"keys.p256dh must lie on the curve P-256, was another point: {AGAIN}", "keys.p256dh")
    return raw


def secret(auth: str) -> bytes:
    """What the browser shares with us alone (RFC 8291 section 3.2)."""
    raw = _raw(auth, "keys.auth")
    if len(raw) != SECRET_BYTES:
        raise Unusable(f"keys.auth must be {SECRET_BYTES} bytes, was {len(raw)}: {AGAIN}", "keys.auth")
    return raw


def _raw(text: str, field: str) -> bytes:
    bare = text.rstrip("=")
    if len(text) > 200 or not _BASE64URL.fullmatch(text) or len(bare) % 4 == 1:
        raise Unusable(f"{field} must be base64url, was {text[:20]!r}: {AGAIN}", field)
    return base64.urlsafe_b64decode(bare + "=" * (-len(bare) % 4))


def is_public(address: IPv4Address | IPv6Address) -> bool:
    """Whether anybody may be there: not this machine, not a private network, not a crowd."""
    if isinstance(address, IPv6Address):
        inner = address.ipv4_mapped or address.sixtofour
        if address in _SAME_AS_V4:
            inner = IPv4Address(int(address) & 0xFFFFFFFF)
        if inner is not None:
            return is_public(inner)
        if address.teredo is not None or address.is_site_local:
            return False
    return address.is_global and not address.is_multicast
