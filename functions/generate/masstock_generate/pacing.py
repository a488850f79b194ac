"""A prompt's turn on its lane: how long the prompt waits, and what the lane learns from the call.

The rules are in the database (sql/migrations/0031_pace_lanes.sql), because all prompts that use one
quota share them.
"""

import time
from uuid import UUID

from masstock.database.queries import claims, gone_models
from masstock.database.queries.claims import Claim, ClaimedElsewhere, Left, MustWait, Verdict
from masstock.database.worker import Worker
from masstock.errors import (
    ContentBlocked,
    InvalidImage,
    InvalidRequest,
    NoImage,
    Outcome,
    PromptBlocked,
    ProviderThrottled,
    Recitation,
)
from masstock.settings import GenerateSettings
from masstock.telemetry import emit_counts, logger
from masstock_generate.lease import Lease

# Step Functions waits whole seconds. The function sleeps the rest, and shorter waits.
LONGEST_SLEEP_SECONDS = 1.0
SLEEP_PER_INVOCATION_SECONDS = 3.0
# A wait of the state machine takes nine of a child's 25,000 events. After so many returns a prompt
# waits at least this long, so that 72 hours fit.
MANY_TURNS = 100
LONG_WAIT_SECONDS = 120
# So many refused or failed probes of a closed lane end a prompt.
MAX_PROBES = 10
# Outcomes of a request that the provider processed.
PROCESSED = (ContentBlocked, InvalidImage, InvalidRequest, NoImage, PromptBlocked, Recitation)


def claim(
    worker: Worker, execution_id: UUID, batch_index: int, lease: Lease, settings: GenerateSettings
) -> Claim | ClaimedElsewhere | MustWait | None:
    """Claims the prompt at the prompt's turn, if it comes within about a second. In a long outage
    the execution goes on with its fallback model, on that model's lane."""
    slept = 0.0
    while True:
        claimed = claims.claim_prompt(
            worker, execution_id, batch_index, lease.seconds, settings.pace_minute_seconds
        )
        model_down = claimed.model_down if isinstance(claimed, MustWait) else None
        if model_down and gone_models.fall_back(worker, execution_id, model_down):
            logger.warning("the execution goes on with its fallback model", model=model_down)
            continue
        if (
            not isinstance(claimed, MustWait)
            or claimed.gives_up
            or claimed.seconds > LONGEST_SLEEP_SECONDS
            or slept > SLEEP_PER_INVOCATION_SECONDS
        ):
            return claimed
        time.sleep(claimed.seconds)
        slept += claimed.seconds


def leave(worker: Worker, claim: Claim, outcome: Outcome | None, minute_seconds: float) -> Left:
    """Tells the lane how the call ended: with this outcome, or with an image that is lost."""
    verdict = _verdict(outcome)
    if claim.line is None:
        emit_counts(**{f"ProviderCalls{verdict.capitalize()}": 1})
    throttled = outcome if isinstance(outcome, ProviderThrottled) else None
    return claims.leave_lane(
        worker,
        claim,
        verdict,
        minute_seconds,
        retry_after=throttled and throttled.retry_after,
        quota_value=throttled and throttled.quota_value,
    )


def _verdict(outcome: Outcome | None) -> Verdict:
    if isinstance(outcome, ProviderThrottled):
        return "refused"
    if outcome is None or isinstance(outcome, PROCESSED):
        return "answered"
    return "failed" if outcome.is_outage else "unreadable"


def whole_seconds(seconds: float, turn: int) -> int:
    """The time of a Wait state before the prompt's next turn. `turn` counts its earlier ones."""
    least = LONG_WAIT_SECONDS if turn >= MANY_TURNS else 1
    return max(least, int(seconds))
