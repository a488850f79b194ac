"""Limits that several modules use. This module imports nothing, so it costs nothing."""

# The most prompts of one execution. A workflow may set a lower limit.
PROMPTS_LIMIT = 10_000
