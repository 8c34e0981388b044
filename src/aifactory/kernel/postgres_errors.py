"""What the embedded PostgreSQL server's modules raise, and the way out that each of them names."""

ADVICE = "Set AIFACTORY_DATABASE_URL to use another PostgreSQL server."


class EmbeddedPostgresError(Exception):
    """The embedded server can't be started; the text says why and what to do."""
