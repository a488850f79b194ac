"""A shorter cold start: the garbage collector waits until a function's imports are done.

The four handlers import this module first and call `imports_done` last. Nothing else imports it.
A third of a cold start is the collector walking freshly imported modules (docs/decisions.md).
"""

import gc
import os

gc.disable()


def imports_done() -> None:
    """Switches the collector on again and excludes the imported modules from its work: they live
    as long as the process. Reseeds `random` after a SnapStart restore."""
    gc.enable()
    gc.freeze()
    if os.environ.get("AWS_LAMBDA_INITIALIZATION_TYPE") == "snap-start":
        _reseed_after_restore()


def _reseed_after_restore() -> None:
    # All processes restored from one snapshot would draw the same "random" jitter. Nothing else
    # needs a hook: secrets are read and connections are opened by the first invocation.
    import random

    from snapshot_restore_py import (  # pyright: ignore[reportMissingTypeStubs]
        register_after_restore,
    )

    register_after_restore(random.seed)
