"""Fitted models at the start: shipped ones against their pins, an operator's own against the operator's key."""

from __future__ import annotations

import base64
import binascii
from pathlib import Path

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key, load_pem_public_key

from devices import models
from devices.models import Model, ModelError
from devices.models.pins import PINS
from service.config import ConfigError, Settings

SIGNED = ".json.sig"


def put_in_force(settings: Settings) -> list[str]:
    """Verify every model and put the operator's own in force; returns their names.

    Raises
    ------
    ConfigError
        If a shipped model was altered, or an operator's is altered, unsigned or cannot stand in.
    """
    try:
        for name in sorted(PINS):
            models.shipped(name)
        if settings.models_dir is None or settings.models_public_key is None:
            return []
        own = read_signed(settings.models_dir, public_key(settings.models_public_key))
        for name, model in own.items():
            models.replace(name, model)
    except ModelError as error:
        raise ConfigError(f"{error}.") from error
    return sorted(own)


def read_signed(folder: Path, key: Ed25519PublicKey) -> dict[str, Model]:
    """Every model of a folder, each verified against its detached signature; raises ``ModelError``."""
    if not folder.is_dir():
        raise ModelError(f"ANSIM_MODELS_DIR must be a folder of models, was {str(folder)!r}: correct or unset it")
    found = {}
    for path in sorted(folder.glob("*.json")):
        name = path.name.removesuffix(".json")
        if name not in PINS:
            known = ", ".join(sorted(PINS)) or "none yet"
            raise ModelError(f"a model in ANSIM_MODELS_DIR must be one of {known}, was {name!r}: take it out")
        data = path.read_bytes()
        _verify(path, data, key)
        found[name] = models.from_bytes(data)
    if not found:
        raise ModelError(f"ANSIM_MODELS_DIR must hold models (NAME.json), was {str(folder)!r} without any: unset it")
    return found


def _verify(path: Path, data: bytes, key: Ed25519PublicKey) -> None:
    signature = path.with_name(path.name.removesuffix(".json") + SIGNED)
    if not signature.is_file():
        raise ModelError(
            f"model {path} is not signed ({signature.name} is missing): sign it with `ansim fit … --key PEM`, "
            "or take it out"
        )
    try:
        key.verify(base64.b64decode(signature.read_text("ascii").strip(), validate=True), data)
    except (InvalidSignature, binascii.Error, ValueError) as error:
        raise ModelError(
            f"model {path} does not agree with its signature by the key of ANSIM_MODELS_PUBLIC_KEY: it was altered "
            "or signed by another key; fit and sign it anew, or take it out"
        ) from error


def sign(data: bytes, key: Ed25519PrivateKey) -> bytes:
    """Detached signature over a model's bytes, in base64 on one line."""
    return base64.b64encode(key.sign(data)) + b"\n"


def public_key(path: Path) -> Ed25519PublicKey:
    """The operator's public key from a PEM file; raises ``ModelError``."""
    try:
        key = load_pem_public_key(path.read_bytes())
    except (OSError, ValueError, UnsupportedAlgorithm) as error:
        raise ModelError(_unusable(path, "public", "openssl pkey -in models.pem -pubout", error)) from error
    if not isinstance(key, Ed25519PublicKey):
        raise ModelError(_unusable(path, "public", "openssl pkey -in models.pem -pubout"))
    return key


def private_key(path: Path) -> Ed25519PrivateKey:
    """The operator's signing key from an unencrypted PEM file; raises ``ModelError``."""
    try:
        key = load_pem_private_key(path.read_bytes(), password=None)
    except (OSError, ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise ModelError(_unusable(path, "private", "openssl genpkey -algorithm ed25519", error)) from error
    if not isinstance(key, Ed25519PrivateKey):
        raise ModelError(_unusable(path, "private", "openssl genpkey -algorithm ed25519"))
    return key


def _unusable(path: Path, which: str, command: str, error: Exception | None = None) -> str:
    why = f" ({type(error).__name__})" if error else ""
    wanted = f"the models' {which} key must be an Ed25519 key in a PEM file"
    return f"{wanted}, was {str(path)!r}{why}: make it with `{command}`"
