"""Adapters that keep what must last in SQLite, MariaDB or PostgreSQL.

Nothing outside of this package imports SQLAlchemy, and nothing imports this package that may not
need it: loading it takes longer than the rest of a small command.
"""
