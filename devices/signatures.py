"""Sign and verify device requests: HTTP message signatures (RFC 9421) over a content digest (RFC 9530)."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

Algorithm = Literal["ed25519", "hmac-sha256"]
SigningKey = Ed25519PrivateKey | bytes
VerifyingKey = Ed25519PublicKey | bytes

LABEL = "sig1"
COMPONENTS = ("@method", "@path", "@authority", "content-type", "content-digest")
# RFC 8941 section 3.3: what our profile needs of structured fields.
_STRING = r'"(?:[\x20-\x21\x23-\x5b\x5d-\x7e]|\\["\\])*"'
_ITEM = re.compile(rf"({_STRING})")
_PARAMETER = re.compile(rf";\s*([a-z*][a-z0-9_.*-]*)(?:=({_STRING}|-?\d{{1,15}}))?")
_MOST_TEXT = 256


class Headers(Protocol):
    """Header fields of any framework, repeated lines included."""

    def items(self) -> Iterable[tuple[str, str]]: ...


class SignatureError(Exception):
    """The request is not signed as the profile asks; ``code`` is stable, ``detail`` says what to do."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(detail)
        self.code, self.detail = code, detail


@dataclass(frozen=True, slots=True)
class SignatureInput:
    """What a request claims about its signature, before any of it is checked against a key."""

    keyid: str
    nonce: str
    created: int
    alg: str
    components: tuple[str, ...]
    parameters: str
    """The covered components and parameters exactly as sent: they are part of what is signed."""
    signature: bytes
    content_digest: str


def content_digest(body: bytes) -> str:
    """Digest a body as RFC 9530 has it in `Content-Digest`."""
    return f"sha-256=:{base64.b64encode(hashlib.sha256(body).digest()).decode()}:"


def signature_base(components: Sequence[tuple[str, str]], parameters: str) -> bytes:
    """Build what is signed: a line a covered component, then the parameters (RFC 9421 section 2.5)."""
    lines = [f'"{name}": {value}' for name, value in components]
    return "\n".join([*lines, f'"@signature-params": {parameters}']).encode("ascii")


def signature_parameters(
    components: Sequence[str], *, created: int, keyid: str, nonce: str | None = None, alg: str | None = None
) -> str:
    """Serialise covered components with their parameters, in the order created, keyid, nonce, alg."""
    covered = " ".join(f'"{name}"' for name in components)
    said = f"({covered});created={created};keyid={_quoted('keyid', keyid)}"
    if nonce is not None:
        said += f";nonce={_quoted('nonce', nonce)}"
    return said if alg is None else f"{said};alg={_quoted('alg', alg)}"


def sign(
    key: SigningKey,
    *,
    method: str,
    path: str,
    authority: str,
    content_type: str,
    body: bytes,
    keyid: str,
    nonce: str,
    created: int,
    alg: Algorithm | None = None,
) -> dict[str, str]:
    """Give the headers that sign a request; ``alg`` follows from the key and is checked against it."""
    own = "hmac-sha256" if isinstance(key, bytes) else "ed25519"
    if alg is not None and alg != own:
        raise ValueError(f"alg must be {own} for this key, was {alg}")
    digest = content_digest(body)
    parameters = signature_parameters(COMPONENTS, created=created, keyid=keyid, nonce=nonce, alg=own)
    base = signature_base(_values(COMPONENTS, method, path, authority, content_type, digest), parameters)
    made = hmac.digest(key, base, "sha256") if isinstance(key, bytes) else key.sign(base)
    return {
        "Content-Type": content_type,
        "Content-Digest": digest,
        "Signature-Input": f"{LABEL}={parameters}",
        "Signature": f"{LABEL}=:{base64.b64encode(made).decode()}:",
    }


def read(headers: Headers) -> SignatureInput:
    """Read the claims of a signed request; raises SignatureError naming what is missing or malformed."""
    lower: dict[str, str] = {}
    for name, value in headers.items():
        # RFC 9110 section 5.3: lines of one field are one value, joined by commas.
        lower[name.lower()] = f"{lower[name.lower()]}, {value}" if name.lower() in lower else value
    said, made = lower.get("signature-input"), lower.get("signature")
    if said is None or made is None:
        raise SignatureError("signature_missing", "send Signature-Input and Signature (RFC 9421), label sig1")
    digest = lower.get("content-digest")
    if digest is None:
        raise SignatureError("digest_missing", "send Content-Digest (RFC 9530) with sha-256")
    parameters = _member("Signature-Input", said)
    components, found = _parsed_parameters(parameters)
    lacking = [name for name in COMPONENTS if name not in components]
    if lacking:
        raise SignatureError("signature_incomplete", f"the signature must cover {', '.join(lacking)}")
    if len(components) != len(COMPONENTS):
        raise SignatureError(
            "signature_malformed", f"cover {', '.join(COMPONENTS)} once each and nothing else"
        )
    missing = [name for name in ("created", "keyid", "nonce", "alg") if name not in found]
    if missing:
        raise SignatureError(
            "signature_incomplete", f"the signature needs the parameters {', '.join(missing)}"
        )
    created, texts = found["created"], [found[name] for name in ("keyid", "nonce", "alg")]
    if not isinstance(created, int) or any(not isinstance(text, str) or not text for text in texts):
        raise SignatureError("signature_malformed", "created is an integer; keyid, nonce and alg are strings")
    keyid, nonce, alg = (str(text) for text in texts)
    if max(len(keyid), len(nonce)) > _MOST_TEXT:
        raise SignatureError("signature_malformed", f"keyid and nonce hold at most {_MOST_TEXT} characters")
    signature = _bytes("Signature", _member("Signature", made))
    return SignatureInput(keyid, nonce, created, alg, components, parameters, signature, digest)


def verify(
    claims: SignatureInput,
    key: VerifyingKey,
    *,
    method: str,
    path: str,
    authority: str,
    content_type: str,
    body: bytes,
) -> None:
    """Check digest and signature against the key; raises SignatureError. The clock is never looked at."""
    own = "hmac-sha256" if isinstance(key, bytes) else "ed25519"
    if claims.alg != own:
        raise SignatureError("alg_mismatch", f'this key signs with {own}: send alg="{own}"')
    _check_digest(claims.content_digest, body)
    values = _values(claims.components, method, path, authority, content_type, claims.content_digest)
    try:
        base = signature_base(values, claims.parameters)
    except UnicodeEncodeError as why:
        raise SignatureError(
            "signature_malformed", "signed components must be ASCII: percent-encode"
        ) from why
    if isinstance(key, bytes):
        good = hmac.compare_digest(hmac.digest(key, base, "sha256"), claims.signature)
    else:
        good = _holds(key, claims.signature, base)
    if not good:
        raise SignatureError("signature_invalid", "the signature does not fit this request and key")


def public_key_to_jwk(key: Ed25519PublicKey) -> dict[str, str]:
    """Export an Ed25519 public key as an OKP JWK (RFC 8037)."""
    return {"kty": "OKP", "crv": "Ed25519", "x": _b64url(key.public_bytes(Encoding.Raw, PublicFormat.Raw))}


def public_key_from_jwk(jwk: Mapping[str, object]) -> Ed25519PublicKey:
    """Import an Ed25519 public key from an OKP JWK; raises ValueError for anything else."""
    if jwk.get("kty") != "OKP" or jwk.get("crv") != "Ed25519":
        raise ValueError("public_key must be a JWK with kty OKP and crv Ed25519 (RFC 8037)")
    if "d" in jwk:
        raise ValueError(
            "public_key must not hold the private part d: send the public JWK, and make a new key"
        )
    x = jwk.get("x")
    raw = _from_b64url(x) if isinstance(x, str) else b""
    if len(raw) != 32:
        raise ValueError("public_key.x must be 32 bytes in base64url without padding")
    return Ed25519PublicKey.from_public_bytes(raw)


def private_key_to_jwk(key: Ed25519PrivateKey) -> dict[str, str]:
    """Export an Ed25519 private key as an OKP JWK, for the device's own safe keeping."""
    raw = key.private_bytes(Encoding.Raw, PrivateFormat.Raw, NoEncryption())
    return {**public_key_to_jwk(key.public_key()), "d": _b64url(raw)}


def private_key_from_jwk(jwk: Mapping[str, object]) -> Ed25519PrivateKey:
    """Import an Ed25519 private key from an OKP JWK; raises ValueError for anything else."""
    d = jwk.get("d")
    raw = _from_b64url(d) if isinstance(d, str) and jwk.get("crv") == "Ed25519" else b""
    if len(raw) != 32:
        raise ValueError("private key must be an Ed25519 OKP JWK with d, 32 bytes in base64url")
    return Ed25519PrivateKey.from_private_bytes(raw)


def _values(
    components: Sequence[str], method: str, path: str, authority: str, content_type: str, digest: str
) -> list[tuple[str, str]]:
    known = {
        "@method": method,
        "@path": path or "/",
        "@authority": _authority(authority),
        "content-type": content_type.strip(),
        "content-digest": digest.strip(),
    }
    return [(name, known[name]) for name in components]


def _authority(authority: str) -> str:
    """Normalise as RFC 9421 section 2.2.3: lower case, default ports left out."""
    return re.sub(r":(?:80|443)$", "", authority.strip().lower())


def _member(header: str, value: str) -> str:
    """Find our label in a dictionary header; another label beside it is left alone, a second sig1 is not."""
    found = []
    for member in _split(value):
        label, _, rest = member.strip().partition("=")
        if label == LABEL:
            found.append(rest)
    if len(found) != 1:
        raise SignatureError("signature_missing", f"{header} must hold the label {LABEL} once")
    return found[0]


def _split(value: str) -> list[str]:
    """Split at commas outside quoted strings."""
    members, quoted, escaped, start = [], False, False, 0
    for i, letter in enumerate(value):
        if escaped:
            escaped = False
        elif quoted and letter == "\\":
            escaped = True
        elif letter == '"':
            quoted = not quoted
        elif letter == "," and not quoted:
            members.append(value[start:i])
            start = i + 1
    return [*members, value[start:]]


def _parsed_parameters(member: str) -> tuple[tuple[str, ...], dict[str, str | int | bool]]:
    match = re.match(r"\(([^()]*)\)", member)
    if match is None:
        raise SignatureError("signature_malformed", "Signature-Input must be a list of covered components")
    items = match.group(1).split()
    if any(not _ITEM.fullmatch(item) for item in items):
        raise SignatureError("signature_malformed", "covered components must be plain quoted names")
    found: dict[str, str | int | bool] = {}
    position = match.end()
    while position < len(member):
        parameter = _PARAMETER.match(member, position)
        if parameter is None or parameter.group(1) in found:
            raise SignatureError("signature_malformed", "Signature-Input has a parameter that cannot be read")
        found[parameter.group(1)] = _bare(parameter.group(2))
        position = parameter.end()
    return tuple(item[1:-1] for item in items), found


def _bare(text: str | None) -> str | int | bool:
    if text is None:
        return True
    return re.sub(r"\\(.)", r"\1", text[1:-1]) if text.startswith('"') else int(text)


def _check_digest(header: str, body: bytes) -> None:
    """Compare the sha-256 among the digests of a header; unknown algorithms beside it are ignored."""
    for member in header.split(","):
        name, _, value = member.strip().partition("=")
        if name == "sha-256":
            if hmac.compare_digest(_bytes("Content-Digest", value), hashlib.sha256(body).digest()):
                return
            raise SignatureError("digest_mismatch", "Content-Digest does not match the body as received")
    raise SignatureError("digest_missing", "Content-Digest must hold sha-256")


def _bytes(header: str, value: str) -> bytes:
    if len(value) < 2 or value[0] != ":" or value[-1] != ":":
        raise SignatureError("signature_malformed", f"{header} must hold bytes between colons")
    try:
        return base64.b64decode(value[1:-1], validate=True)
    except ValueError as why:
        raise SignatureError("signature_malformed", f"{header} must hold base64 between colons") from why


def _holds(key: Ed25519PublicKey, signature: bytes, base: bytes) -> bool:
    try:
        key.verify(signature, base)
    except InvalidSignature:
        return False
    return True


def _quoted(name: str, text: str) -> str:
    if not text.isascii() or not text.isprintable():
        raise ValueError(f"{name} must be printable ASCII, was {text!r}")
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _b64url(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def _from_b64url(text: str) -> bytes:
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        return b""
