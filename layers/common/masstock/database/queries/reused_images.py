"""Images that a submission takes from earlier results. Only generate imports this module."""

from masstock.database.connection import Executor
from masstock.database.queries.claims import Claim


def reserve_image(tx: Executor, claim: Claim) -> bool:
    """Reserves the price of an image that was to be reused, because its source is gone. False if it
    does not fit into the client's budget. A second call reserves nothing more."""
    [row] = tx.fetch_all(
        "SELECT app.reserve_image(%(execution_id)s, %(batch_index)s, %(attempt)s) AS reserved",
        execution_id=claim.execution_id,
        batch_index=claim.batch_index,
        attempt=claim.attempt,
    )
    return row["reserved"]
