"""The console: a web page that people use. Its files are in masstock_api/console."""

import hashlib
import json
from functools import cache
from pathlib import Path

from aws_lambda_powertools.event_handler import Response

from masstock.errors import NotFound
from masstock.services.storage import Uploads
from masstock_api import session
from masstock_api.image_urls import images_origin, origin_of
from masstock_api.operation import Answer, operation
from masstock_api.parameters import Parameter
from masstock_api.request import Request

FILES = Path(__file__).parents[1] / "console"
MEDIA_TYPES = {".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml"}
# The addresses of the files contain the version, so a browser never asks for one twice.
FOR_EVER = "public, max-age=31536000, immutable"
# Scripts set single style properties, which style-src does not concern.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: {results}; "
    "connect-src 'self' {connect}; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


@operation(
    "GET",
    "/",
    Answer(200, media_type="text/html"),
    is_open=True,
    bare=True,
    compress=True,
    ignores_query=True,
)
def get_console(_: Request) -> Response[str]:
    """Returns the web page where people submit prompts and look at images. An identity provider
    sends people back here with a query string, which only the page's script reads."""
    from html import escape

    settings = session.settings()
    results = images_origin()
    uploads = origin_of(Uploads(settings.uploads_bucket).address())
    sign_in = {
        "local": settings.stage == "local",
        "supabase_url": settings.console_auth_url,
        "supabase_key": settings.console_auth_key,
        "issuer": settings.jwt_issuer if settings.console_client_id else "",
        "client_id": settings.console_client_id,
        "audience": settings.jwt_audience,
    }
    issuers = [sign_in["supabase_url"], sign_in["issuer"], *settings.console_origins.split()]
    connect = {results, uploads, *(origin_of(str(url)) for url in issuers if url)}
    page = (FILES / "index.html").read_text()
    page = page.replace("{version}", _version()).replace("{sign_in}", escape(json.dumps(sign_in)))
    policy = POLICY.format(results=results, connect=" ".join(sorted(connect)))
    headers = {
        "Content-Security-Policy": policy,
        "Cache-Control": "no-cache",
        "Cross-Origin-Opener-Policy": "same-origin",
        "Referrer-Policy": "no-referrer",
        "X-Content-Type-Options": "nosniff",
    }
    return Response(200, "text/html; charset=utf-8", page, dict(headers))


@operation(
    "GET",
    "/console/<version>/<asset>",
    Answer(200, media_type="text/javascript"),
    Answer(200, media_type="text/css"),
    Answer(200, media_type="image/svg+xml"),
    path_parameters={
        "version": Parameter(str, {"type": "string", "example": "0123456789ab"}),
        "asset": Parameter(str, {"type": "string", "example": "main.js"}),
    },
    problems=[NotFound],
    is_open=True,
    bare=True,
    compress=True,
)
def get_console_asset(_: Request, version: str, asset: str) -> Response[str]:
    """Returns a file of the console. Another version than the present one is not found, so that a
    page never mixes files of two releases."""
    if version != _version() or asset not in _assets():
        raise NotFound
    media_type = MEDIA_TYPES[Path(asset).suffix]
    headers = {"Cache-Control": FOR_EVER, "X-Content-Type-Options": "nosniff"}
    return Response(200, f"{media_type}; charset=utf-8", _assets()[asset], dict(headers))


@cache
def _assets() -> dict[str, str]:
    return {
        path.name: path.read_text()
        for path in sorted(FILES.iterdir())
        if path.suffix in MEDIA_TYPES
    }


@cache
def _version() -> str:
    return hashlib.sha256(json.dumps(_assets()).encode()).hexdigest()[:12]
