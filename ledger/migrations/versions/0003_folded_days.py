"""Profit goes on from what was folded of each day; triggers take back what a late fill is not in.

Revision ID: 0003
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

#: What days are folded of, with the column of its time.
FOLDED = (("fills", "filled_at_ms"), ("funding", "interval_end_ms"))
#: Which states of a row a change is about.
STATES = {"INSERT": ("NEW",), "UPDATE": ("OLD", "NEW"), "DELETE": ("OLD",)}
MARKET = ["instance_id", "account", "symbol"]


def upgrade() -> None:
    """Make the table, the triggers, and indexes for the question where an instance has traded."""
    op.create_table(
        "folded_days",
        sa.Column("account", sa.Text(), nullable=False),
        sa.Column("symbol", sa.Text(), nullable=False),
        sa.Column("until_ms", sa.BigInteger(), nullable=False),
        sa.Column("day", sa.Text(), nullable=False),
        sa.Column("chains", sa.Text(), nullable=False),
        sa.Column("cells", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("account", "symbol", "until_ms", name=op.f("pk_folded_days")),
    )
    for table, time in FOLDED:
        op.create_index(op.f(f"ix_{table}_instance_id_account_symbol"), table, MARKET, unique=False)
        for statement in _postgresql(table, time) if _is_postgresql() else _sqlite(table, time):
            op.execute(statement)


def downgrade() -> None:
    """Drop them; nothing is lost, it all follows from the fills."""
    for table, _ in FOLDED:
        for change in STATES:
            op.execute(f"DROP TRIGGER take_back_{table}_{change.lower()}{_on(table)}")
            if _is_postgresql():
                op.execute(f"DROP FUNCTION take_back_{table}_{change.lower()}()")
        op.drop_index(op.f(f"ix_{table}_instance_id_account_symbol"), table)
    op.drop_table("folded_days")


def _sqlite(table: str, time: str) -> list[str]:
    return [
        f"CREATE TRIGGER take_back_{table}_{change.lower()} AFTER {change} ON {table} "
        f"BEGIN {_take_back(states, time)} END"
        for change, states in STATES.items()
    ]


def _postgresql(table: str, time: str) -> list[str]:
    found = []
    for change, states in STATES.items():
        name = f"take_back_{table}_{change.lower()}"
        found += [
            f"CREATE FUNCTION {name}() RETURNS trigger LANGUAGE plpgsql SET search_path FROM CURRENT AS "
            f"$$ BEGIN {_take_back(states, time)} RETURN NULL; END $$",
            f"CREATE TRIGGER {name} AFTER {change} ON {table} FOR EACH ROW EXECUTE FUNCTION {name}()",
        ]
    return found


def _take_back(states: tuple[str, ...], time: str) -> str:
    # Retention deletes what is older than `pruned_until`: that is folded for good.
    return " ".join(
        f"DELETE FROM folded_days WHERE account = {row}.account AND symbol = {row}.symbol "
        f"AND until_ms > {row}.{time} AND {row}.{time} >= COALESCE((SELECT until_ms FROM pruned_until p "
        f"WHERE p.account = {row}.account AND p.symbol = {row}.symbol), 0);"
        for row in states
    )


def _is_postgresql() -> bool:
    return op.get_bind().dialect.name == "postgresql"


def _on(table: str) -> str:
    return f" ON {table}" if _is_postgresql() else ""
