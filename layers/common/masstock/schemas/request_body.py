"""The base of the bodies of requests."""

from typing import Any

from pydantic import BaseModel, ConfigDict


class RequestBody(BaseModel):
    """A JSON object."""

    # Strict, as in JSON Schema: "1" and true are not integers. WHOLE accepts 1.0.
    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True, strict=True)

    def changes(self) -> dict[str, Any]:
        """The fields that the caller sent, null included; for PATCH."""
        return self.model_dump(mode="json", exclude_unset=True)
