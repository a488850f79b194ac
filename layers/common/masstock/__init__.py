"""What the functions share. Importing it pauses the garbage collector until `imports_done`."""

import gc

# A third of a cold start is the collector walking freshly imported modules (docs/decisions.md).
gc.disable()


def imports_done() -> None:
    """Ends the pause: what was imported lives as long as the process and is never walked again."""
    gc.enable()
    gc.freeze()
