"""An HTTP server in a thread of this process."""

import threading
from collections.abc import Callable

from werkzeug.serving import BaseWSGIServer, WSGIRequestHandler, make_server

from local.processes.children import HOST


class QuietHandler(WSGIRequestHandler):
    """Logs failures only."""

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        """Log nothing for an answered request."""


class ThreadedServer:
    """Serves a WSGI application on 127.0.0.1 from construction to `stop`."""

    def __init__(self, application: Callable, port: int) -> None:
        self._server: BaseWSGIServer = make_server(
            HOST, port, application, threaded=True, request_handler=QuietHandler
        )
        self.url = f"http://{HOST}:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Stop listening. Open requests get no answer."""
        self._server.shutdown()
        self._server.server_close()
