"""The SQL of the Resource Manager; no decisions."""
