"""Ends runs, sends webhooks and runs the sweep."""
