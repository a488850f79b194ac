"""The OpenAPI document, and a web page that shows it and sends requests. They need no token."""

from pathlib import Path

import aws_lambda_powertools
from aws_lambda_powertools.event_handler import Response

from masstock.errors import NotFound
from masstock_api.image_urls import images_origin
from masstock_api.operation import Answer, operation
from masstock_api.parameters import Parameter
from masstock_api.request import Request
from masstock_api.responses import cacheable_answer

DESCRIPTION = Path(__file__).parents[1] / "openapi.json"
# Powertools contains Swagger UI. The policy stops the page from loading files of other hosts.
SWAGGER_UI = Path(aws_lambda_powertools.__file__).parent / "event_handler/openapi/swagger_ui"
# The page follows the redirect to an image in the results bucket, and shows it as a blob.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob: {results}; connect-src 'self' {results}; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'"
)
PAGE = """\
<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>MasStock API</title>
<link rel="icon" href="data:,">
<link rel="stylesheet" href="docs/swagger-ui.css">
<div id="swagger-ui"></div>
<script src="docs/swagger-ui.js"></script>
<script src="docs/start.js"></script>
</html>
"""
# No validator: the default one is on another host. The page does not store a pasted token.
START = """\
SwaggerUIBundle({
  url: "openapi.json",
  dom_id: "#swagger-ui",
  deepLinking: true,
  displayRequestDuration: true,
  filter: true,
  validatorUrl: null,
  presets: [SwaggerUIBundle.presets.apis],
  layout: "BaseLayout",
});
"""
ASSETS = {
    "swagger-ui.css": ("text/css", SWAGGER_UI / "swagger-ui.min.css"),
    "swagger-ui.js": ("text/javascript", SWAGGER_UI / "swagger-ui-bundle.min.js"),
    "start.js": ("text/javascript", START),
}


@operation(
    "GET",
    "/openapi.json",
    Answer(200, media_type="application/json", headers=["ETag"]),
    Answer(304, headers=["ETag"]),
    headers=["If-None-Match"],
    is_open=True,
    bare=True,
    compress=True,
)
def get_openapi(request: Request) -> Response[str]:
    """Returns this OpenAPI 3.1 document."""
    return cacheable_answer(DESCRIPTION.read_text(), request.header("if-none-match"))


@operation("GET", "/docs", Answer(200, media_type="text/html"), is_open=True, bare=True)
def get_docs(_: Request) -> Response[str]:
    """Returns a web page that shows this document and sends requests with a pasted token."""
    policy = POLICY.format(results=images_origin())
    headers = {"Content-Security-Policy": policy, "Cache-Control": "no-cache"}
    return Response(200, "text/html; charset=utf-8", PAGE, dict(headers))


@operation(
    "GET",
    "/docs/<asset>",
    Answer(200, media_type="text/css"),
    Answer(200, media_type="text/javascript"),
    path_parameters={"asset": Parameter(str, {"type": "string", "example": "start.js"})},
    problems=[NotFound],
    is_open=True,
    bare=True,
    compress=True,
)
def get_docs_asset(_: Request, asset: str) -> Response[str]:
    """Returns a file of the web page."""
    if asset not in ASSETS:
        raise NotFound
    media_type, content = ASSETS[asset]
    text = content if isinstance(content, str) else content.read_text()
    headers = {"Cache-Control": "public, max-age=3600", "X-Content-Type-Options": "nosniff"}
    return Response(200, f"{media_type}; charset=utf-8", text, dict(headers))
