"""Proofs of closed cases, and the key to check them with."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import msgspec
from flask import Blueprint, Response

from service import access_proof
from service.api.auth import house, viewer
from service.api.openapi import operation
from service.workflows.proof_document import Export
from service.workflows.proof_page import KeyRecord

blueprint = Blueprint("proof", __name__)


@blueprint.get("/v1/incidents/<uuid:incident_id>/proof")
@operation(
    "The signed proof of one closed case, as a file for `ansim verify --proof`",
    responses={200: Export, 401: None, 403: None, 404: None},
)
def one_proof(incident_id: UUID) -> Response:
    """For those who handle the case, and for the family; 404 until it is closed and signed."""
    answer = _json(access_proof.proof_export(house(), viewer("incidents:read"), incident_id))
    answer.headers["Content-Disposition"] = f'attachment; filename="proof-{incident_id}.json"'
    return answer


@blueprint.get("/v1/proof/key")
@operation("The public key that signs proofs, and its fingerprint", responses={200: KeyRecord}, security="none")
def key() -> Response:
    """Print the fingerprint and keep it elsewhere: who can change this answer could sign with another key."""
    return _json(access_proof.proof_key(house()))


def _json(value: Any) -> Response:
    return Response(msgspec.json.encode(value), content_type="application/json")
