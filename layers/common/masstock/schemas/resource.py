"""What the bodies of all answers have in common."""

from typing import Annotated

from pydantic import BaseModel, Field

Count = Annotated[int, Field(ge=0)]


class Resource(BaseModel):
    """A JSON object. Later versions may add fields, but remove no field."""
