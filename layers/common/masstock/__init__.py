"""What the functions share. Importing it pauses the garbage collector until `imports_done`."""

import gc
import os

# A third of a cold start is the collector walking freshly imported modules (docs/decisions.md).
gc.disable()


def imports_done() -> None:
    """Ends the pause: what was imported lives as long as the process and is never walked again."""
    gc.enable()
    gc.freeze()
    if os.environ.get("AWS_LAMBDA_INITIALIZATION_TYPE") == "snap-start":
        _differ_after_restore()


def _differ_after_restore() -> None:
    # Processes restored from one snapshot would share one sequence of "random" jitter. Nothing else
    # needs a hook: secrets are read and connections opened by the first invocation.
    import random

    from snapshot_restore_py import (  # pyright: ignore[reportMissingTypeStubs]
        register_after_restore,
    )

    register_after_restore(random.seed)
