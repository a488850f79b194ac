"""Runs Lambda's Python runtime and records which invokes reach the handler.

    python runtime.py -m awslambdaric HANDLER

The emulator does not say whether a runtime died before or after the handler began. The runtime
therefore appends one byte to the file HANDLER_STARTS before it calls the handler, and one if the
handler's module raises. An invoke with the payload INITIALIZE does not reach the handler: the
emulator starts the runtime at its first invoke, and this payload makes it start without an event of
a caller.
"""

import os
import sys
from typing import Any

STARTS_VARIABLE = "HANDLER_STARTS"
INITIALIZE = b'{"local.aws.runtime": "initialize"}'


def main(handler: str) -> None:
    """Serve invokes until the process is killed."""
    starts = os.open(os.environ.pop(STARTS_VARIABLE), os.O_WRONLY | os.O_APPEND)
    # As with `python -m awslambdaric`: modules come from the function, not from this directory.
    sys.path[0] = os.getcwd()
    from awslambdaric import __main__, bootstrap

    handle = bootstrap.handle_event_request

    def handle_and_record(
        client: Any, handler: Any, invoke_id: str, event: bytes, *rest: Any
    ) -> None:
        if event == INITIALIZE:
            handle(client, lambda event, context: None, invoke_id, event, *rest)
            return
        os.write(starts, b".")
        handle(client, handler, invoke_id, event, *rest)

    bootstrap.handle_event_request = handle_and_record
    try:
        __main__.main([sys.argv[0], handler])
    except SystemExit:
        # The handler's module raised. Another runtime would raise too.
        os.write(starts, b"x")
        raise


if __name__ == "__main__":
    main(sys.argv[-1])
