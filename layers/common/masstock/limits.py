"""Limits that several modules use. This module imports nothing, so it costs nothing."""

# The most prompts of one execution. A workflow may set a lower limit.
PROMPTS_LIMIT = 10_000

# The most images of one execution, and of one prompt. The database has the same limits (0046).
IMAGES_LIMIT = 10_000
IMAGES_PER_PROMPT_LIMIT = 8
