"""The generator without a model: a source text in, a tree out. Deterministic, no network, no clock."""
