"""What the database itself writes down while the service runs: every claim, every change of a case.

Triggers run inside the service's own transactions, so their rows are there exactly when the change is, and they see
what the change saw. That is how claims can be set against acknowledgements without asking the service.
"""

from __future__ import annotations

_CLAIM_COLUMNS = """
    notification_id {uuid} NOT NULL, incident_id {uuid} NOT NULL, kind TEXT NOT NULL, tries INTEGER NOT NULL,
    was_status TEXT NOT NULL, was_lease BIGINT, lease BIGINT, worker TEXT, acknowledged BOOLEAN, state TEXT
"""
_CASE_COLUMNS = """
    incident_id {uuid} NOT NULL, was_state TEXT, state TEXT NOT NULL, was_acknowledged BOOLEAN,
    acknowledged BOOLEAN NOT NULL, owner_id {uuid}, next_step_at BIGINT, closed_at BIGINT, version INTEGER NOT NULL
"""
_DROP_COLUMNS = "notification_id {uuid} NOT NULL, lease BIGINT, ended_at BIGINT"
_DROP_NAMES, _DROP_VALUES = "notification_id, lease, ended_at", "NEW.id, NEW.lease_until, NEW.ended_at"
_CLAIM_NAMES = "notification_id, incident_id, kind, tries, was_status, was_lease, lease, worker, acknowledged, state"
_CASE_NAMES = (
    "incident_id, was_state, state, was_acknowledged, acknowledged, owner_id, next_step_at, closed_at, version"
)
_CLAIM_VALUES = """
    NEW.id, NEW.incident_id, NEW.kind, NEW.tries, OLD.status, OLD.lease_until, NEW.lease_until, NEW.claimed_by,
    (SELECT acknowledged FROM incident WHERE id = NEW.incident_id),
    (SELECT state FROM incident WHERE id = NEW.incident_id)
"""
_CASE_VALUES = """
    NEW.id, OLD.state, NEW.state, OLD.acknowledged, NEW.acknowledged, NEW.owner_id, NEW.next_step_at, NEW.closed_at,
    NEW.version
"""
_NEW_CASE_VALUES = """
    NEW.id, NULL, NEW.state, NULL, NEW.acknowledged, NEW.owner_id, NEW.next_step_at, NEW.closed_at, NEW.version
"""


def _write(name: str, columns: str, values: str) -> str:
    return f"INSERT INTO {name} ({columns}) VALUES ({values})"  # noqa: S608 - all of it is written here


_DROPPED = "NEW.status = 'cancelled' AND OLD.status = 'claimed'"
_CLAIMED = "NEW.status = 'claimed' AND (OLD.status <> 'claimed' OR NEW.tries <> OLD.tries)"

SQLITE_WATCH = (
    f"CREATE TABLE torture_claim (seq INTEGER PRIMARY KEY, {_CLAIM_COLUMNS.format(uuid='CHAR(32)')})",
    f"CREATE TABLE torture_drop (seq INTEGER PRIMARY KEY, {_DROP_COLUMNS.format(uuid='CHAR(32)')})",
    f"CREATE TABLE torture_case (seq INTEGER PRIMARY KEY, {_CASE_COLUMNS.format(uuid='CHAR(32)')})",
    f"""CREATE TRIGGER torture_claimed AFTER UPDATE ON notification WHEN {_CLAIMED}
    BEGIN {_write('torture_claim', _CLAIM_NAMES, _CLAIM_VALUES)}; END""",
    f"""CREATE TRIGGER torture_dropped AFTER UPDATE ON notification WHEN {_DROPPED}
    BEGIN {_write('torture_drop', _DROP_NAMES, _DROP_VALUES)}; END""",
    f"""CREATE TRIGGER torture_opened AFTER INSERT ON incident
    BEGIN {_write('torture_case', _CASE_NAMES, _NEW_CASE_VALUES)}; END""",
    f"""CREATE TRIGGER torture_changed AFTER UPDATE ON incident
    BEGIN {_write('torture_case', _CASE_NAMES, _CASE_VALUES)}; END""",
)

POSTGRES_WATCH = (
    f"CREATE TABLE torture_claim (seq BIGSERIAL PRIMARY KEY, {_CLAIM_COLUMNS.format(uuid='UUID')})",
    f"CREATE TABLE torture_drop (seq BIGSERIAL PRIMARY KEY, {_DROP_COLUMNS.format(uuid='UUID')})",
    f"CREATE TABLE torture_case (seq BIGSERIAL PRIMARY KEY, {_CASE_COLUMNS.format(uuid='UUID')})",
    f"""CREATE FUNCTION torture_claimed() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN {_write('torture_claim', _CLAIM_NAMES, _CLAIM_VALUES)}; RETURN NULL; END $$""",
    f"""CREATE FUNCTION torture_dropped() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN {_write('torture_drop', _DROP_NAMES, _DROP_VALUES)}; RETURN NULL; END $$""",
    f"""CREATE FUNCTION torture_opened() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN {_write('torture_case', _CASE_NAMES, _NEW_CASE_VALUES)}; RETURN NULL; END $$""",
    f"""CREATE FUNCTION torture_changed() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN {_write('torture_case', _CASE_NAMES, _CASE_VALUES)}; RETURN NULL; END $$""",
    f"""CREATE TRIGGER torture_claimed AFTER UPDATE ON notification FOR EACH ROW WHEN ({_CLAIMED})
    EXECUTE FUNCTION torture_claimed()""",
    f"""CREATE TRIGGER torture_dropped AFTER UPDATE ON notification FOR EACH ROW WHEN ({_DROPPED})
    EXECUTE FUNCTION torture_dropped()""",
    "CREATE TRIGGER torture_opened AFTER INSERT ON incident FOR EACH ROW EXECUTE FUNCTION torture_opened()",
    "CREATE TRIGGER torture_changed AFTER UPDATE ON incident FOR EACH ROW EXECUTE FUNCTION torture_changed()",
)
