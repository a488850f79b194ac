"""Executes a command that gets a signal when its parent process dies.

    python -I -S leash.py PARENT SIGNAL ACCOUNT COMMAND...

PARENT is the parent's pid, or 0 if the caller does not know it. ACCOUNT is the `uid:gid` to run as,
or `-`. It imports the standard library only, because it runs before every execution environment.
"""

import ctypes
import os
import sys

PR_SET_PDEATHSIG = 1


def main(parent: str, death_signal: str, account: str, *command: str) -> None:
    """Replace this process by `command`; exit at once if the parent is already dead."""
    if account != "-":
        uid, gid = map(int, account.split(":"))
        os.setgroups([])
        os.setgid(gid)
        os.setuid(uid)
    if sys.platform == "linux":
        # After setuid, because setuid clears the death signal. exec keeps it.
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, int(death_signal))
        if int(parent) not in (0, os.getppid()):
            sys.exit(1)
    os.execvp(command[0], command)


if __name__ == "__main__":
    main(*sys.argv[1:])
