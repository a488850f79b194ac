"""Claims of prompts, at their turn on the lane."""

import time
from uuid import UUID

from masstock.database.queries.claims import Claim, ClaimedElsewhere, MustWait, claim_prompt
from masstock.database.worker import Worker


def claim_in_turn(
    worker: Worker, execution_id: UUID, batch_index: int, lease_seconds: float = 60
) -> Claim | ClaimedElsewhere | None:
    """Claims the prompt when its lane grants it. Fails after ten seconds."""
    deadline = time.monotonic() + 10
    while True:
        claimed = claim_prompt(worker, execution_id, batch_index, lease_seconds)
        if not isinstance(claimed, MustWait):
            return claimed
        assert time.monotonic() < deadline, f"the lane grants nothing: {claimed}"
        time.sleep(min(claimed.seconds, 0.2))
