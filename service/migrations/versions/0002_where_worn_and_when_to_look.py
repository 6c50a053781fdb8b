"""where a device is worn, and when a quiet person is looked for

Revision ID: 0002
Revises: 0001
"""

from __future__ import annotations

import sqlalchemy as sa
import sqlmodel
from alembic import op

import service.store.tables

revision = '0002'
down_revision = '0001'
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table('device', schema=None) as batch_op:
        batch_op.add_column(sa.Column('worn_at', sqlmodel.sql.sqltypes.AutoString(), server_default='', nullable=False))
    with op.batch_alter_table('detector_state', schema=None) as batch_op:
        batch_op.add_column(sa.Column('look_at', service.store.tables.UtcMicros(), nullable=True))
        batch_op.create_index('ix_detector_state_look', ['look_at'], unique=False)


def downgrade() -> None:
    with op.batch_alter_table('detector_state', schema=None) as batch_op:
        batch_op.drop_index('ix_detector_state_look')
        batch_op.drop_column('look_at')
    with op.batch_alter_table('device', schema=None) as batch_op:
        batch_op.drop_column('worn_at')
