"""What alembic runs: the steps, within the transaction that `ledger.migrating` has begun."""

from __future__ import annotations

from alembic import context

from ledger import schema

# An existing transaction on the connection is used as it is: all steps succeed, or none.
context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=schema.metadata,
    transactional_ddl=True,
)
with context.begin_transaction():
    context.run_migrations()
