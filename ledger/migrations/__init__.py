"""Alembic steps that make and change the tables of the ledger."""
