"""Executes a command that dies when the process that started it dies.

    python -I -S leash.py PARENT SIGNAL ACCOUNT COMMAND...

PARENT is the starter's pid, or 0 where the starter cannot know it; ACCOUNT is `uid:gid` to drop
root's privileges to, or `-`. Standard library only: it runs before every execution environment.
"""

import ctypes
import os
import sys

PR_SET_PDEATHSIG = 1


def main(parent: str, death_signal: str, account: str, *command: str) -> None:
    """Become `command`; leave at once if the parent is gone already."""
    if account != "-":
        uid, gid = map(int, account.split(":"))
        os.setgroups([])
        os.setgid(gid)
        os.setuid(uid)
    if sys.platform == "linux":
        # After setuid, which clears it. It survives the exec below.
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, int(death_signal))
        if int(parent) not in (0, os.getppid()):
            sys.exit(1)
    os.execvp(command[0], command)


if __name__ == "__main__":
    main(*sys.argv[1:])
