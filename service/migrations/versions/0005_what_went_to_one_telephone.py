"""what went to one telephone lately

Revision ID: 0005
Revises: 0004
"""

from __future__ import annotations

from alembic import op

revision = '0005'
down_revision = '0004'
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table('notification', schema=None) as batch_op:
        batch_op.create_index('ix_notification_sent', ['target_id', 'status', 'sent_at'], unique=False)
        batch_op.create_index('ix_notification_over', ['target_id', 'status', 'ended_at'], unique=False)


def downgrade() -> None:
    with op.batch_alter_table('notification', schema=None) as batch_op:
        batch_op.drop_index('ix_notification_over')
        batch_op.drop_index('ix_notification_sent')
