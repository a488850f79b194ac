"""A shorter cold start: the garbage collector waits until a function's imports are done.

The handlers import this module first and call `imports_done` last. No other module imports it. With
the collector on, a third of a cold start is spent on checking the imported modules
(docs/decisions.md).
"""

import gc
import os

gc.disable()


def imports_done() -> None:
    """Switches the collector on again and excludes the imported modules from it, because they live
    as long as the process. Reseeds `random` after a SnapStart restore."""
    gc.enable()
    gc.freeze()
    if os.environ.get("AWS_LAMBDA_INITIALIZATION_TYPE") == "snap-start":
        _reseed_after_restore()


def _reseed_after_restore() -> None:
    # Otherwise all processes restored from one snapshot draw the same random numbers. Secrets and
    # connections need no hook: the first invocation reads and opens them.
    import random

    from snapshot_restore_py import (  # pyright: ignore[reportMissingTypeStubs]
        register_after_restore,
    )

    register_after_restore(random.seed)
