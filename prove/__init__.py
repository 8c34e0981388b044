"""Proofs at full size; `make prove` runs them, `make test` runs bounded versions of the same code."""
