"""A fleet without a database: the same policy and the same arithmetic, in memory and in virtual time."""
