"""Bodies of answers about archives; see `responses`."""

from datetime import datetime
from typing import Literal
from uuid import UUID

from pydantic import Field

from masstock.schemas.resource import Count, CreatedAt, Resource


class ArchivePart(Resource):
    """One ZIP file."""

    url: str = Field(description="It needs no token.")
    size_bytes: Count
    expires_at: datetime = Field(description="When the URL stops working.")


class Archive(Resource):
    """The images of an execution as ZIP files."""

    execution_id: UUID
    state: Literal["building", "ready", "failed", "expired"] = Field(
        description="`failed`: ask for it again. `expired`: it is removed after seven days."
    )
    images: Count = Field(description="Number of images in all parts together.")
    bytes: Count = Field(description="Size of the parts that are finished.")
    parts: list[ArchivePart] = Field(
        description="At most 1,000 images each. Empty unless the state is `ready`."
    )
    created_at: CreatedAt
    expires_at: datetime = Field(description="When the archive is removed.")
