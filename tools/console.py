"""Checks the console's scripts: types with tsc, style with Biome. Run by `make check`."""

import subprocess
import sys

from tools.npm import NODE, ROOT, packages

SOURCES = ROOT / "tests/console"
CONSOLE = ROOT / "functions/api/masstock_api/console"


def main() -> int:
    """Prints what is wrong and returns the exit status."""
    modules = packages(SOURCES)
    types = [NODE, modules / "typescript/bin/tsc", "--project", SOURCES / "tsconfig.json"]
    style = [NODE, modules / "@biomejs/biome/bin/biome", "lint", "--error-on-warnings"]
    style += ["--config-path", SOURCES, CONSOLE]
    statuses = [
        subprocess.run(command, cwd=ROOT, check=False).returncode for command in (types, style)
    ]
    return max(statuses)


if __name__ == "__main__":
    sys.exit(main())
