"""The simulator: a described or recorded workload, played through the live policy in virtual time."""
