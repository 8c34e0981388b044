"""AI Factory: clients' requests become structured, validated, costed content."""

__version__ = "0.1.0"
