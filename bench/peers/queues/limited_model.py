"""What the limited Python peers know of the model: its limit, and what a refusal says."""

import json
import os

# The limit, which every peer is told: this many calls in this many seconds.
REQUESTS = int(os.environ["LIMIT_REQUESTS"])
SECONDS = int(os.environ["LIMIT_SECONDS"])
CONCURRENCY = 20
# How long a peer waits after a refusal that names no time.
USUAL_WAIT_SECONDS = 1.0


def wait_of(refusal: bytes) -> float:
    """The seconds after which the model wants the call again, from RetryInfo in a 429's body."""
    for detail in json.loads(refusal)["error"].get("details", ()):
        if "retryDelay" in detail:
            return float(detail["retryDelay"].removesuffix("s"))
    return USUAL_WAIT_SECONDS
