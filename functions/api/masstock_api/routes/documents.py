"""The API's own description, and a page to read and try it on. Open to everybody."""

from pathlib import Path

import aws_lambda_powertools
from aws_lambda_powertools.event_handler import Response
from aws_lambda_powertools.event_handler.router import APIGatewayHttpRouter

from masstock.errors import NotFound
from masstock_api.request import read_query
from masstock_api.responses import cacheable_answer

router = APIGatewayHttpRouter()

DESCRIPTION = Path(__file__).parents[1] / "openapi.json"
# Powertools ships Swagger UI: nothing comes from a foreign host, and the policy holds it to that.
SWAGGER_UI = Path(aws_lambda_powertools.__file__).parent / "event_handler/openapi/swagger_ui"
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'"
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
# The default validator is a foreign host. A pasted token is forgotten with the page.
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


@router.get("/openapi.json", compress=True)
def get_openapi() -> Response[str]:
    """This description: OpenAPI 3.1."""
    event = router.current_event
    read_query(event, {})
    return cacheable_answer(DESCRIPTION.read_text(), event.headers.get("if-none-match"))


@router.get("/docs")
def get_docs() -> Response[str]:
    """A page that shows this description and sends requests with a token pasted into it."""
    read_query(router.current_event, {})
    headers = {"Content-Security-Policy": POLICY, "Cache-Control": "no-cache"}
    return Response(200, "text/html; charset=utf-8", PAGE, dict(headers))


@router.get("/docs/<asset>", compress=True)
def get_docs_asset(asset: str) -> Response[str]:
    """What the page is made of."""
    read_query(router.current_event, {})
    if asset not in ASSETS:
        raise NotFound
    media_type, content = ASSETS[asset]
    text = content if isinstance(content, str) else content.read_text()
    headers = {"Cache-Control": "public, max-age=3600", "X-Content-Type-Options": "nosniff"}
    return Response(200, f"{media_type}; charset=utf-8", text, dict(headers))
