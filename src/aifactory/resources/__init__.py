"""The gatekeeper: queue, gates, budgets, ledger, scheduler."""
