"""Request signatures against RFC 9421's own vector and an independent implementation."""

from __future__ import annotations

import base64
import hashlib
import json
import random
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace

import http_message_signatures
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key, load_pem_public_key
from hypothesis import given, settings
from hypothesis import strategies as st

from devices import signatures
from devices.signatures import COMPONENTS, SignatureError, read, sign, verify

VECTORS = Path(__file__).parents[2] / "../shared/conformance/httpsig"
BODY = b'{"upload_id": "x"}'
KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
SECRET = b"a shared secret of thirty-two by"
REQUEST = {
    "method": "POST",
    "path": "/v1/readings",
    "authority": "ansim.example:8443",
    "content_type": "application/json",
    "body": BODY,
}


def signed(key=KEY, **change):
    return sign(key, **(REQUEST | {"keyid": "device-1", "nonce": "n-1", "created": 1_777_604_400} | change))


def code_of(headers, key=None, **change) -> str:
    with pytest.raises(SignatureError) as caught:
        verify(read(headers), key or KEY.public_key(), **(REQUEST | change))
    return caught.value.code


@pytest.fixture
def vector():
    if not VECTORS.exists():
        pytest.skip("data not present: conformance/httpsig")
    return json.loads((VECTORS / "rfc9421_b26.json").read_text())


def test_rfc_9421_appendix_b_2_6_is_reproduced_byte_for_byte(vector):
    headers = {name.lower(): value for name, value in vector["request"]["headers"].items()}
    known = headers | {"@method": "POST", "@path": "/foo", "@authority": "example.com"}
    parameters = signatures.signature_parameters(
        vector["covered"], created=vector["created"], keyid=vector["keyid"]
    )
    base = signatures.signature_base([(name, known[name]) for name in vector["covered"]], parameters)
    private = load_pem_private_key((VECTORS / "test-key-ed25519.key").read_bytes(), None)
    public = load_pem_public_key((VECTORS / "test-key-ed25519.pem").read_bytes())
    assert base64.b64encode(private.sign(base)).decode() == vector["signature"]
    public.verify(base64.b64decode(vector["signature"]), base)


def test_content_digest_matches_rfc_9530():
    # RFC 9530 appendix D.
    assert (
        signatures.content_digest(b'{"hello": "world"}')
        == "sha-256=:X48E9qOokqqrvdts8nOJRJN3OWDUoyWxBf7kbu9DBPE=:"
    )


@pytest.mark.parametrize("key", [KEY, SECRET])
def test_what_is_signed_is_verified(key):
    claims = read(signed(key))
    assert (claims.keyid, claims.nonce, claims.created) == ("device-1", "n-1", 1_777_604_400)
    verify(claims, key if isinstance(key, bytes) else key.public_key(), **REQUEST)


def test_the_clock_is_never_looked_at():
    verify(read(signed(created=12)), KEY.public_key(), **REQUEST)


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"body": b"{}"}, "digest_mismatch"),
        ({"method": "PUT"}, "signature_invalid"),
        ({"path": "/v1/readings/"}, "signature_invalid"),
        ({"authority": "other.example"}, "signature_invalid"),
        ({"content_type": "text/plain"}, "signature_invalid"),
    ],
)
@pytest.mark.parametrize("key", [KEY, SECRET])
def test_any_other_request_is_refused(key, change, code):
    assert code_of(signed(key), key if isinstance(key, bytes) else key.public_key(), **change) == code


def test_another_key_is_refused_and_so_is_another_algorithm():
    assert code_of(signed(), Ed25519PrivateKey.generate().public_key()) == "signature_invalid"
    assert code_of(signed(), SECRET) == "alg_mismatch"
    assert code_of(signed(SECRET)) == "alg_mismatch"
    assert code_of(signed(SECRET), b"another secret") == "signature_invalid"


def test_authority_ignores_case_and_default_ports():
    verify(
        read(signed(authority="ANSIM.example:443")),
        KEY.public_key(),
        **REQUEST | {"authority": "ansim.example"},
    )


@pytest.mark.parametrize("gone", ["Signature", "Signature-Input", "Content-Digest"])
def test_a_missing_header_is_named(gone):
    headers = signed()
    del headers[gone]
    with pytest.raises(SignatureError) as caught:
        read(headers)
    assert caught.value.code == ("digest_missing" if gone == "Content-Digest" else "signature_missing")


@pytest.mark.parametrize("component", COMPONENTS)
def test_every_component_has_to_be_covered(component):
    headers = signed()
    headers["Signature-Input"] = headers["Signature-Input"].replace(f'"{component}"', "").replace("( ", "(")
    assert code_of(headers) == "signature_incomplete"


@pytest.mark.parametrize("name", ["created", "keyid", "nonce", "alg"])
def test_every_parameter_has_to_be_there(name):
    headers = signed()
    label, rest = headers["Signature-Input"].split(")")
    kept = [part for part in rest.split(";") if not part.startswith(name)]
    headers["Signature-Input"] = label + ")" + ";".join(kept)
    assert code_of(headers) == "signature_incomplete"


@pytest.mark.parametrize(
    "said",
    [
        "sig1=7",
        "sig1=()",
        'sig1=PARAMETER;created=1;keyid="a";nonce="b"',
        'sig1=TWICE;created=1;keyid="a";nonce="b";alg="ed25519"',
        'sig1=ALL;created="1";keyid="a";nonce="b";alg="ed25519"',
        'sig1=ALL;created=1;created=2;keyid="a"',
        'sig1=ALL;created=1;keyid=a;nonce="b";alg="ed25519"',
        "sig2=()",
        "",
    ],
)
def test_a_malformed_input_is_refused(said):
    covered = '"@path" "@authority" "content-type" "content-digest"'
    said = said.replace("ALL", f'("@method" {covered})').replace("TWICE", f'("@method" "@method" {covered})')
    said = said.replace("PARAMETER", f'("@method";req {covered})')
    headers = signed() | {"Signature-Input": said}
    assert code_of(headers) in ("signature_malformed", "signature_incomplete", "signature_missing")


def test_another_label_beside_ours_is_ignored_but_two_of_ours_are_refused():
    headers = signed()
    beside = headers | {
        "Signature-Input": 'other=("@method");keyid="a, sig1=b", ' + headers["Signature-Input"],
        "Signature": "other=:AAAA:, " + headers["Signature"],
    }
    verify(read(beside), KEY.public_key(), **REQUEST)
    twice = headers | {"Signature": headers["Signature"] + ", " + headers["Signature"]}
    assert code_of(twice) == "signature_missing"


@settings(max_examples=100, deadline=None)
@given(st.text(max_size=60), st.text(max_size=60), st.text(max_size=60))
def test_no_header_crashes_the_reader(said, made, digest):
    headers = {"signature-input": f"sig1={said}", "signature": f"sig1={made}", "content-digest": digest}
    with pytest.raises(SignatureError):
        verify(read(headers), KEY.public_key(), **REQUEST)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10_000))
def test_no_changed_character_is_accepted(seed):
    rng = random.Random(seed)
    headers = signed()
    name = rng.choice(["Signature-Input", "Signature", "Content-Digest"])
    text = headers[name]
    i = rng.randrange(5, len(text))
    changed = chr(33 + (ord(text[i]) - 33 + rng.randrange(1, 90)) % 94)
    headers[name] = text[:i] + changed + text[i + 1 :]
    try:
        verify(read(headers), KEY.public_key(), **REQUEST)
    except SignatureError:
        return
    # The two unused low bits before base64 padding may differ without changing a byte.
    assert name in ("Signature", "Content-Digest")


def test_keys_travel_as_jwk():
    jwk = signatures.public_key_to_jwk(KEY.public_key())
    assert jwk == {"kty": "OKP", "crv": "Ed25519", "x": jwk["x"]}
    back = signatures.public_key_from_jwk(jwk)
    verify(read(signed()), back, **REQUEST)
    private = signatures.private_key_from_jwk(signatures.private_key_to_jwk(KEY))
    assert private.public_key().public_bytes_raw() == KEY.public_key().public_bytes_raw()


def test_rfc_8037_key_is_read():
    # RFC 8037 appendix A.2, its thumbprint in A.3.
    jwk = {"kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}
    key = signatures.public_key_from_jwk(jwk)
    digest = hashlib.sha256(b'{"crv":"Ed25519","kty":"OKP","x":"' + jwk["x"].encode() + b'"}').digest()
    assert base64.urlsafe_b64encode(digest).rstrip(b"=") == b"kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"
    assert signatures.public_key_to_jwk(key) == jwk


@pytest.mark.parametrize(
    "jwk",
    [
        {},
        {"kty": "EC", "crv": "P-256", "x": "a"},
        {"kty": "OKP", "crv": "Ed25519", "x": "short"},
        {"kty": "OKP", "crv": "Ed25519", "x": 7},
        {"kty": "OKP", "crv": "Ed25519", "x": "é" * 43},
        {"kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo", "d": "x"},
    ],
)
def test_another_jwk_is_refused(jwk):
    with pytest.raises(ValueError, match="public_key"):
        signatures.public_key_from_jwk(jwk)


def message(headers):
    return SimpleNamespace(
        method="POST", url="http://ansim.example:8443/v1/readings", headers=dict(headers), body=BODY
    )


class Keys(http_message_signatures.HTTPSignatureKeyResolver):
    def __init__(self, key):
        self.key = key

    def resolve_private_key(self, key_id):
        return self.key

    def resolve_public_key(self, key_id):
        return self.key if isinstance(self.key, bytes) else self.key.public_key()


CASES = [
    (KEY, http_message_signatures.algorithms.ED25519),
    (SECRET, http_message_signatures.algorithms.HMAC_SHA256),
]


@pytest.mark.parametrize(("key", "algorithm"), CASES)
def test_an_independent_library_accepts_what_we_sign(key, algorithm):
    created = int(datetime.now(UTC).timestamp())
    verifier = http_message_signatures.HTTPMessageVerifier(
        signature_algorithm=algorithm, key_resolver=Keys(key)
    )
    results = verifier.verify(message(signed(key, created=created)))
    assert results[0].label == "sig1"


@pytest.mark.parametrize(("key", "algorithm"), CASES)
def test_we_accept_what_an_independent_library_signs(key, algorithm):
    signer = http_message_signatures.HTTPMessageSigner(signature_algorithm=algorithm, key_resolver=Keys(key))
    request = message({"Content-Type": "application/json", "Content-Digest": signatures.content_digest(BODY)})
    signer.sign(
        request,
        key_id="device-1",
        created=datetime.fromtimestamp(1_777_604_400).astimezone(),
        nonce="n-1",
        label="sig1",
        covered_component_ids=COMPONENTS,
        use_existing_digest=True,
    )
    verify(read(request.headers), key if isinstance(key, bytes) else key.public_key(), **REQUEST)
