"""Answers by rule: from a prompt's passages and a schema to JSON, with sentence frames, without a model."""
