"""Who may hand a case over, and who may see what was signed of it."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from dispatch import eido
from dispatch.incident import Incident
from service.access import Denied, Viewer, looked
from service.workflows import handover, handover_partner, looks, proof_page
from service.workflows.house import House, log
from service.workflows.proof_document import Export


def handover_face(house: House, viewer: Viewer, incident_id: UUID) -> dict[str, Any]:
    """The hand-over page: everything of one case, for dispatchers."""
    is_open = _dispatches(house, viewer, incident_id, "incidents:read", "handover")
    return handover.face(house, incident_id, viewer.person_id, viewer.language, open_case=is_open)


def handover_record(house: House, viewer: Viewer, incident_id: UUID, language: str) -> dict[str, Any]:
    """The same as EIDO-shaped JSON, for dispatchers and machines that may read incidents."""
    is_open = _dispatches(house, viewer, incident_id, "incidents:read", "eido")
    return eido.eido(handover.record(house, incident_id, viewer.person_id, language, open_case=is_open))


def hand_over(house: House, viewer: Viewer, incident_id: UUID, to: str) -> Incident:
    _dispatches(house, viewer, incident_id, "incidents:write", "action:hand_over")
    return handover.offer(house, viewer.person_id, incident_id, to)


def handover_answered(
    house: House, viewer: Viewer, incident_id: UUID, accepted: bool, reason: str, reference: str
) -> Incident:
    _dispatches(house, viewer, incident_id, "incidents:write", "action:handover_answered")
    return handover.answered(house, viewer.person_id, incident_id, accepted, reason, reference)


def partner_answered(house: House, token: str, accepted: bool, reason: str, reference: str) -> None:
    """What the partner's desk says later: the token that it was given is its right to. LookupError when it is none."""
    handover_partner.answered(house, token, accepted, reason, reference)


def _dispatches(house: House, viewer: Viewer, incident_id: UUID, scope: str, purpose: str) -> bool:
    """Whether the case is open; Denied unless this viewer handles the cases of its organisation."""
    patient_id, organisation_id, is_open = looks.whose(house, incident_id)
    may = "dispatcher" in viewer.roles or scope in viewer.scopes
    _require(may and organisation_id == viewer.organisation_id, viewer, purpose)
    looked(house, viewer, patient_id, purpose, incident_id)
    return is_open


# --- proofs -----------------------------------------------------------------------------------------


def proof_face(house: House, viewer: Viewer, incident_id: UUID) -> dict[str, Any]:
    """What was signed of a closed case: for dispatchers of its organisation, and for the family it is about."""
    return proof_page.face(house, incident_id, viewer.language, full=_sees_proof(house, viewer, incident_id))


def proof_export(house: House, viewer: Viewer, incident_id: UUID) -> Export:
    """The proof by itself, as a file. LookupError while there is none."""
    return proof_page.export(house, incident_id, full=_sees_proof(house, viewer, incident_id))


def proof_key(house: House) -> proof_page.KeyRecord:
    """The public key: anybody may have it, for anybody may check."""
    return proof_page.key(house)


def _sees_proof(house: House, viewer: Viewer, incident_id: UUID) -> bool:
    """Whether all of it is shown; the family gets it without what the centre keeps."""
    patient_id, organisation_id, _ = looks.whose(house, incident_id)
    works_there = organisation_id == viewer.organisation_id and viewer.sees_board
    _require(works_there or patient_id in viewer.patients, viewer, "proof")
    looked(house, viewer, patient_id, "proof", incident_id)
    return works_there


def _require(allowed: bool, viewer: Viewer, what: str) -> None:
    if not allowed:
        log("denied", person=viewer.person_id, what=what)
        raise Denied(what)
