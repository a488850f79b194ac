"""What a client used."""

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

from aws_lambda_powertools.event_handler import Response

from masstock.database.queries import usage
from masstock.errors import FieldError, NotFound, ValidationFailed
from masstock_api.operation import Answer, operation
from masstock_api.parameters import a_time, a_uuid
from masstock_api.request import Request
from masstock_api.responses import page_answer


@operation(
    "GET",
    "/v1/usage",
    Answer(200, "Usage"),
    query={
        "client_id": replace(a_uuid, note="Required from administrators."),
        "from": replace(a_time, note="Months that begin at this time or later."),
        "to": replace(a_time, note="Months that begin before this time."),
    },
    problems=[NotFound],
)
def get_usage(request: Request) -> Response[str]:
    """Returns a client's images and their cost, by month, workflow, model and tier, and the rest of
    the budget. `from` and `to` select months by their first day. Administrators name the client."""
    tx, client_id = request.reading(), request.query["client_id"]
    since, until = (_day_from(request.query[name]) for name in ("from", "to"))
    try:
        return page_answer(usage.fetch_usage(tx, client_id, since, until))
    except NotFound as error:
        if client_id is None:
            detail = "Administrators must name the client."
            raise ValidationFailed([FieldError("client_id", detail)]) from error
        raise


def _day_from(time: datetime | None) -> date | None:
    """The first day (UTC) that does not begin before `time`."""
    if time is None:
        return None
    day = time.astimezone(UTC)
    is_midnight = day.time() == day.min.time()
    # No day follows the last one, and no month begins on it.
    is_first = is_midnight or day.date() == date.max
    return day.date() if is_first else day.date() + timedelta(days=1)
