"""policies, snoozes, drills, reachability, push, proof and spending

Revision ID: 0004
Revises: 0003
"""

from __future__ import annotations

import sqlalchemy as sa
import sqlmodel
from alembic import op

import service.store.tables

revision = '0004'
down_revision = '0003'
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table('drill',
    sa.Column('patient_id', sa.Uuid(), nullable=False),
    sa.Column('id', sa.Uuid(), nullable=False),
    sa.Column('organisation_id', sa.Uuid(), nullable=False),
    sa.Column('district_code', sqlmodel.sql.sqltypes.AutoString(), nullable=False),
    sa.Column('purpose', sqlmodel.sql.sqltypes.AutoString(), nullable=False),
    sa.Column('state', sqlmodel.sql.sqltypes.AutoString(), nullable=False),
    sa.Column('started_at', service.store.tables.UtcMicros(), nullable=False),
    sa.Column('next_step_at', service.store.tables.UtcMicros(), nullable=True),
    sa.Column('ended_at', service.store.tables.UtcMicros(), nullable=True),
    sa.Column('version', sa.Integer(), nullable=False),
    sa.Column('sealed', sa.LargeBinary(), nullable=False),
    sa.PrimaryKeyConstraint('patient_id', 'id'),
    sa.UniqueConstraint('id')
    )
    with op.batch_alter_table('drill', schema=None) as batch_op:
        batch_op.create_index('ix_drill_due', ['next_step_at'], unique=False)
        batch_op.create_index('ix_drill_patient', ['patient_id', 'started_at'], unique=False)

    op.create_table('policy_document',
    sa.Column('id', sa.Uuid(), nullable=False),
    sa.Column('organisation_id', sa.Uuid(), nullable=False),
    sa.Column('scope', sqlmodel.sql.sqltypes.AutoString(), nullable=False),
    sa.Column('district_code', sqlmodel.sql.sqltypes.AutoString(), nullable=False),
    sa.Column('patient_id', sa.Uuid(), nullable=True),
    sa.Column('version', sa.Integer(), nullable=False),
    sa.Column('text', sqlmodel.sql.sqltypes.AutoString(), nullable=False),
    sa.Column('author_id', sa.Uuid(), nullable=False),
    sa.Column('created_at', service.store.tables.UtcMicros(), nullable=False),
    sa.PrimaryKeyConstraint('id')
    )
    with op.batch_alter_table('policy_document', schema=None) as batch_op:
        batch_op.create_index(
            'ix_policy_document_scope', ['organisation_id', 'scope', 'district_code', 'patient_id'], unique=False
        )

    op.create_table('proof',
    sa.Column('patient_id', sa.Uuid(), nullable=False),
    sa.Column('incident_id', sa.Uuid(), nullable=False),
    sa.Column('version', sa.Integer(), nullable=False),
    sa.Column('number', sa.BigInteger(), nullable=False),
    sa.Column('made_at', service.store.tables.UtcMicros(), nullable=False),
    sa.Column('head', sa.LargeBinary(), nullable=False),
    sa.Column('document', sa.LargeBinary(), nullable=False),
    sa.Column('keyid', sqlmodel.sql.sqltypes.AutoString(), nullable=False),
    sa.Column('signature', sa.LargeBinary(), nullable=False),
    sa.PrimaryKeyConstraint('patient_id', 'incident_id', 'version'),
    sa.UniqueConstraint('number')
    )
    op.create_table('push_subscription',
    sa.Column('person_id', sa.Uuid(), nullable=False),
    sa.Column('id', sa.Uuid(), nullable=False),
    sa.Column('endpoint_index', sa.LargeBinary(), nullable=False),
    sa.Column('sealed', sa.LargeBinary(), nullable=False),
    sa.Column('created_at', service.store.tables.UtcMicros(), nullable=False),
    sa.Column('ended_at', service.store.tables.UtcMicros(), nullable=True),
    sa.PrimaryKeyConstraint('person_id', 'id'),
    sa.UniqueConstraint('endpoint_index')
    )
    op.create_table('reachability',
    sa.Column('patient_id', sa.Uuid(), nullable=False),
    sa.Column('organisation_id', sa.Uuid(), nullable=False),
    sa.Column('proven_at', service.store.tables.UtcMicros(), nullable=True),
    sa.Column('broken_since', service.store.tables.UtcMicros(), nullable=True),
    sa.Column('broken_link', sqlmodel.sql.sqltypes.AutoString(), nullable=False),
    sa.Column('drill_due_at', service.store.tables.UtcMicros(), nullable=True),
    sa.Column('gap_from', service.store.tables.UtcMicros(), nullable=True),
    sa.Column('gap_until', service.store.tables.UtcMicros(), nullable=True),
    sa.Column('looked_at', service.store.tables.UtcMicros(), nullable=True),
    sa.PrimaryKeyConstraint('patient_id')
    )
    with op.batch_alter_table('reachability', schema=None) as batch_op:
        batch_op.create_index('ix_reachability_drill', ['drill_due_at'], unique=False)
        batch_op.create_index(batch_op.f('ix_reachability_organisation_id'), ['organisation_id'], unique=False)

    op.create_table('snooze',
    sa.Column('patient_id', sa.Uuid(), nullable=False),
    sa.Column('id', sa.Uuid(), nullable=False),
    sa.Column('organisation_id', sa.Uuid(), nullable=False),
    sa.Column('code', sqlmodel.sql.sqltypes.AutoString(), nullable=False),
    sa.Column('from_at', service.store.tables.UtcMicros(), nullable=False),
    sa.Column('until_at', service.store.tables.UtcMicros(), nullable=False),
    sa.Column('by_id', sa.Uuid(), nullable=False),
    sa.Column('ended_at', service.store.tables.UtcMicros(), nullable=True),
    sa.PrimaryKeyConstraint('patient_id', 'id')
    )
    with op.batch_alter_table('snooze', schema=None) as batch_op:
        batch_op.create_index('ix_snooze_until', ['until_at'], unique=False)

    op.create_table('spend',
    sa.Column('organisation_id', sa.Uuid(), nullable=False),
    sa.Column('day', sqlmodel.sql.sqltypes.AutoString(), nullable=False),
    sa.Column('channel', sqlmodel.sql.sqltypes.AutoString(), nullable=False),
    sa.Column('messages', sa.Integer(), nullable=False),
    sa.Column('cost_micros', sa.BigInteger(), nullable=False),
    sa.PrimaryKeyConstraint('organisation_id', 'day', 'channel')
    )
    op.create_table('virtual_band',
    sa.Column('patient_id', sa.Uuid(), nullable=False),
    sa.Column('device_id', sa.Uuid(), nullable=False),
    sa.Column('sealed_key', sa.LargeBinary(), nullable=False),
    sa.Column('created_at', service.store.tables.UtcMicros(), nullable=False),
    sa.PrimaryKeyConstraint('patient_id'),
    sa.UniqueConstraint('device_id')
    )
    with op.batch_alter_table('alarm_condition', schema=None) as batch_op:
        batch_op.add_column(sa.Column('held_until', service.store.tables.UtcMicros(), nullable=True))
        batch_op.create_index('ix_alarm_condition_held', ['held_until'], unique=False)

    with op.batch_alter_table('incident', schema=None) as batch_op:
        batch_op.add_column(sa.Column('proof_due_at', service.store.tables.UtcMicros(), nullable=True))
        batch_op.create_index('ix_incident_proof', ['proof_due_at'], unique=False)
    op.execute("UPDATE incident SET proof_due_at = closed_at WHERE closed_at IS NOT NULL")

    with op.batch_alter_table('notification', schema=None) as batch_op:
        batch_op.add_column(sa.Column('unsure_since', service.store.tables.UtcMicros(), nullable=True))

    with op.batch_alter_table('person_phone', schema=None) as batch_op:
        batch_op.add_column(sa.Column('broken_at', service.store.tables.UtcMicros(), nullable=True))



def downgrade() -> None:
    with op.batch_alter_table('person_phone', schema=None) as batch_op:
        batch_op.drop_column('broken_at')

    with op.batch_alter_table('notification', schema=None) as batch_op:
        batch_op.drop_column('unsure_since')

    with op.batch_alter_table('incident', schema=None) as batch_op:
        batch_op.drop_index('ix_incident_proof')
        batch_op.drop_column('proof_due_at')

    with op.batch_alter_table('alarm_condition', schema=None) as batch_op:
        batch_op.drop_index('ix_alarm_condition_held')
        batch_op.drop_column('held_until')

    op.drop_table('virtual_band')
    op.drop_table('spend')
    with op.batch_alter_table('snooze', schema=None) as batch_op:
        batch_op.drop_index('ix_snooze_until')

    op.drop_table('snooze')
    with op.batch_alter_table('reachability', schema=None) as batch_op:
        batch_op.drop_index(batch_op.f('ix_reachability_organisation_id'))
        batch_op.drop_index('ix_reachability_drill')

    op.drop_table('reachability')
    op.drop_table('push_subscription')
    op.drop_table('proof')
    with op.batch_alter_table('policy_document', schema=None) as batch_op:
        batch_op.drop_index('ix_policy_document_scope')

    op.drop_table('policy_document')
    with op.batch_alter_table('drill', schema=None) as batch_op:
        batch_op.drop_index('ix_drill_patient')
        batch_op.drop_index('ix_drill_due')

    op.drop_table('drill')
