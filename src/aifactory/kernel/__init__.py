"""Plumbing without business words; imports nothing of the domains."""
