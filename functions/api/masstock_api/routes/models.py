"""Image models of the catalogue."""

from typing import TYPE_CHECKING

from aws_lambda_powertools.event_handler import Response

from masstock.database.queries import users
from masstock_api.operation import Answer, operation
from masstock_api.request import Request
from masstock_api.responses import as_json, cacheable_answer

if TYPE_CHECKING:
    from masstock.catalogue.image_models import ImageModel


@operation(
    "GET",
    "/v1/models",
    Answer(200, "Report[ImageModel]", headers=["ETag"]),
    Answer(304, headers=["ETag"]),
    headers=["If-None-Match"],
)
def list_models(request: Request) -> Response[str]:
    """The known image models: sizes, ratios, prices of both tiers, and retirement. A workflow may
    name another model."""
    from masstock.catalogue.image_models import MODELS

    # Asks the database, because a suspended account gets nothing.
    users.admit(request.reading())
    items = [_described(name, model) for name, model in MODELS.items()]
    body = as_json({"items": items, "next_cursor": None})
    return cacheable_answer(body, request.header("if-none-match"))


def _described(name: str, model: "ImageModel") -> dict[str, object]:
    from masstock.catalogue.image_models import halved

    sizes: list[dict[str, object]] = []
    for size in model.image_tokens:
        price = model.cost_of(model.usual(size))
        economy = halved(price) if model.batch_factor is not None else None
        sizes.append({"size": size, "microusd": price, "economy_microusd": economy})
    return {
        "model": name,
        "provider": model.provider,
        "sizes": sizes,
        "aspect_ratios": model.aspect_ratios,
        "max_reference_images": model.max_reference_images,
        "mime_type": model.mime_type,
        "input_microusd_per_million_tokens": int(model.input_price * 1_000_000),
        "text_microusd_per_million_tokens": int(model.text_price * 1_000_000),
        "image_microusd_per_million_tokens": int(model.image_price * 1_000_000),
        "deprecated": model.deprecated,
        "ends_on": model.ends_on,
        "retired_on": model.retired_on,
        "successor": model.successor,
    }
