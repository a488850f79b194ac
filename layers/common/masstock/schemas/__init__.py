"""Shapes: api (what callers send and get), workflow (what the state machine carries), config (what
a workflow's `config` column holds)."""
