"""A policy with steps as short as a document may make them, so that ten thousand incidents fit into an hour."""

from __future__ import annotations

from uuid import UUID

from dispatch.plan import Policy
from dispatch.policies import Document
from dispatch.policy_fields import BY_NAME, CALL_TAIL_S, FIELDS
from service.workflows import policies
from service.workflows.house import House

MOST_SCALE = 20.0
NO_DELAYS = {"fresh_s", "ring_s"}
RING = BY_NAME["contacts.ring_s"]


def shortened(time_scale: float) -> Document:
    """Every delay divided, but not below its range: a lease still ends before the shortest step does."""
    values = {
        field.attribute: max(field.low, round(field.default / time_scale))
        for field in FIELDS
        if field.attribute.endswith("_s") and field.attribute not in NO_DELAYS
    }
    # The carrier counts the ringing itself, and divides it too.
    ring_s = values["ring_s"] = RING.low if time_scale > 1 else RING.default
    for name in ("contact_step_s", "ask_attempt_s"):
        values[name] = max(values[name], ring_s + CALL_TAIL_S)
    tries = Policy(version="").ask_attempts - 1
    values["ask_budget_s"] = max(values["ask_budget_s"], tries * values["ask_attempt_s"] + ring_s)
    return Document(title="Torture", values=values)


def publish(house: House, organisation_id: UUID, time_scale: float) -> None:
    """Put it in force for everybody."""
    text = shortened(time_scale).rendered()
    policies.publish(house, organisation_id, organisation_id, policies.Place(), text)
