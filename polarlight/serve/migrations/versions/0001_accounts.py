"""Keys, consents, the log behind rate limits, and the ledger with the triggers that keep it append-only."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

Number = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def upgrade() -> None:
    make_keys()
    make_ledger()
    keep_append_only()


def make_keys() -> None:
    op.create_table(
        "keys",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("secret_hash", sa.Text, nullable=False, unique=True),
        sa.Column("redacted", sa.Text, nullable=False),
        sa.Column("owner", sa.Boolean, nullable=False),
        sa.Column("acls", sa.JSON, nullable=False),
        sa.Column("requests_per_second", sa.Integer),
        sa.Column("requests_per_minute", sa.Integer),
        sa.Column("monthly_limit_ticks", sa.BigInteger),
        sa.Column("prepaid", sa.Boolean, nullable=False),
        sa.Column("blocked", sa.Boolean, nullable=False),
        sa.Column("created_at", sa.Double, nullable=False),
        sa.Column("modified_at", sa.Double, nullable=False),
        sa.Column("modified_by", sa.Text, nullable=False),
        sa.Column("revoked_at", sa.Double),
    )
    owners = sa.text("owner")
    op.create_index("one_owner", "keys", ["owner"], unique=True, sqlite_where=owners, postgresql_where=owners)
    op.create_table(
        "consents",
        sa.Column("number", Number, primary_key=True),
        sa.Column("key_id", sa.Text, sa.ForeignKey("keys.id"), nullable=False, index=True),
        sa.Column("granted_at", sa.Double, nullable=False),
        sa.Column("withdrawn_at", sa.Double),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "accepted_requests",
        sa.Column("number", Number, primary_key=True),
        sa.Column("key_id", sa.Text, sa.ForeignKey("keys.id"), nullable=False),
        sa.Column("scope", sa.Text, nullable=False),
        sa.Column("at", sa.Double, nullable=False),
        sa.Index(None, "key_id", "scope", "at"),
        sa.Index(None, "at"),
        sqlite_autoincrement=True,
    )


def make_ledger() -> None:
    op.create_table(
        "ledger",
        sa.Column("number", Number, primary_key=True),
        sa.Column("at", sa.Double, nullable=False),
        sa.Column("day", sa.Text, nullable=False),
        sa.Column("month", sa.Text, nullable=False),
        sa.Column("key_id", sa.Text, sa.ForeignKey("keys.id"), nullable=False),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("reference", sa.Text, nullable=False, unique=True),
        sa.Column("request_id", sa.Text),
        sa.Column("model", sa.Text, nullable=False),
        sa.Column("ticks", sa.BigInteger, nullable=False),
        sa.Column("cost_ticks", sa.BigInteger, nullable=False),
        sa.Column("balance_after", sa.BigInteger, nullable=False),
        sa.Column("spent_after", sa.BigInteger, nullable=False),
        sa.Column("note", sa.Text, nullable=False),
        sa.CheckConstraint("kind IN ('credit', 'grant', 'reserved', 'charged', 'released')", name="kind"),
        sa.Index(None, "key_id", "number"),
        sa.Index(None, "key_id", "month", "number"),
        sa.Index(None, "day"),
        sqlite_autoincrement=True,
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
