"""The programs behind ``make bench``: the product beside its peers, on one PostgreSQL, in one run."""
