"""Keys, consents, the log behind rate limits, and the ledger with the triggers that keep it append-only."""

import sqlalchemy as sa
from alembic import op

from polarlight.serve.columns import COUNTED, filled, key_id, number, optional, times

revision = "0001"
down_revision = None


def upgrade() -> None:
    make_keys()
    make_ledger()
    keep_append_only()


def make_keys() -> None:
    op.create_table(
        "keys",
        sa.Column("id", sa.Text, primary_key=True),
        *filled(sa.Text, "name"),
        sa.Column("secret_hash", sa.Text, nullable=False, unique=True),
        *filled(sa.Text, "redacted"),
        *filled(sa.Boolean, "owner"),
        *filled(sa.JSON, "acls"),
        *optional(sa.Integer, "requests_per_second", "requests_per_minute"),
        sa.Column("monthly_limit_ticks", sa.BigInteger),
        *filled(sa.Boolean, "prepaid", "blocked"),
        *times("created_at", "modified_at"),
        *filled(sa.Text, "modified_by"),
        sa.Column("revoked_at", sa.Double),
    )
    owners = sa.text("owner")
    op.create_index("one_owner", "keys", ["owner"], unique=True, sqlite_where=owners, postgresql_where=owners)
    op.create_table(
        "consents",
        number(),
        key_id(index=True),
        *times("granted_at"),
        sa.Column("withdrawn_at", sa.Double),
        **COUNTED,
    )
    op.create_table(
        "accepted_requests",
        number(),
        key_id(),
        *filled(sa.Text, "scope"),
        *times("at"),
        sa.Index(None, "key_id", "scope", "at"),
        sa.Index(None, "at"),
        **COUNTED,
    )


def make_ledger() -> None:
    op.create_table(
        "ledger",
        number(),
        *times("at"),
        *filled(sa.Text, "day", "month"),
        key_id(),
        *filled(sa.Text, "kind"),
        sa.Column("reference", sa.Text, nullable=False, unique=True),
        sa.Column("request_id", sa.Text),
        *filled(sa.Text, "model"),
        *filled(sa.BigInteger, "ticks", "cost_ticks", "balance_after", "spent_after"),
        *filled(sa.Text, "note"),
        sa.CheckConstraint("kind IN ('credit', 'grant', 'reserved', 'charged', 'released')", name="kind"),
        sa.Index(None, "key_id", "number"),
        sa.Index(None, "key_id", "month", "number"),
        sa.Index(None, "day"),
        **COUNTED,
    )


def keep_append_only() -> None:
    """Refuse every change of a row that stands in the ledger, whoever sends it."""
    if op.get_bind().dialect.name == "sqlite":
        for change in ("UPDATE", "DELETE"):
            op.execute(
                f"CREATE TRIGGER ledger_no_{change.lower()} BEFORE {change} ON ledger "
                "BEGIN SELECT RAISE(ABORT, 'the ledger is append-only'); END"
            )
        return
    op.execute(
        "CREATE FUNCTION refuse_ledger_change() RETURNS trigger LANGUAGE plpgsql AS "
        "$$ BEGIN RAISE EXCEPTION 'the ledger is append-only'; END $$"
    )
    op.execute(
        "CREATE TRIGGER ledger_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON ledger "
        "FOR EACH STATEMENT EXECUTE FUNCTION refuse_ledger_change()"
    )
