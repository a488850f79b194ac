"""The HTTP API: one request in, one answer out."""
