"""Ends runs, sends webhooks and sweeps."""
