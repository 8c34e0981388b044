"""The way of a stage that models write: which models, what it may cost, its phases, calls and steps."""
