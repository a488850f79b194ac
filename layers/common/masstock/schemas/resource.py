"""What the bodies of all answers have in common."""

from datetime import datetime
from typing import Annotated

from pydantic import BaseModel, Field

Count = Annotated[int, Field(ge=0)]
CreatedAt = Annotated[datetime, Field(description="When it was created.")]
UpdatedAt = Annotated[datetime, Field(description="When it was last changed.")]


class Resource(BaseModel):
    """A JSON object. Later versions may add fields, but remove no field."""
