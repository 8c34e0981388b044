"""Clients, keys, users, master templates, requests."""
