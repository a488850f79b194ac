"""Lanes: the providers' quotas, and how fast they are used."""

from typing import TYPE_CHECKING
from uuid import UUID

from masstock.database.connection import Versioned
from masstock.database.queries import lanes
from masstock_api.operation import changes, lists, reads
from masstock_api.pages import Page
from masstock_api.request import Request

if TYPE_CHECKING:
    from masstock.schemas.requests import LaneUpdate


@lists("/v1/lanes", "Lane", {}, admins=True)
def list_lanes(request: Request, page: Page) -> list[str]:
    """Lists lanes, newest first. A lane begins with its first call, and shows no API key."""
    return lanes.list_lanes(request.reading(), page)


@reads("/v1/lanes/<lane_id>", "Lane", admins=True)
def get_lane(request: Request, lane_id: UUID) -> Versioned:
    """Returns one lane."""
    return lanes.fetch_lane(request.reading(), lane_id)


@changes("/v1/lanes/<lane_id>", "Lane", admins=True)
def update_lane(request: Request, lane_id: UUID, body: "LaneUpdate") -> Versioned:
    """Sets the limit that the provider gave to this quota, in calls per minute. With null the lane
    finds the limit by itself."""
    changed = body.changes()
    with request.writing() as tx:
        request.check_version(lanes.fetch_lane(tx, lane_id, for_update=True).version)
        if "limit_per_minute" in changed:
            lanes.set_limit(tx, lane_id, changed["limit_per_minute"])
        return lanes.fetch_lane(tx, lane_id)
