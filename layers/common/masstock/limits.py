"""Numbers that both a request and what it is checked against must know; no imports, no cost."""

# What one execution may ask for at most, whatever a workflow allows.
PROMPTS_LIMIT = 10_000
