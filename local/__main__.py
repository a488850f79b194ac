"""`python -m local up | down | clean | token | reseal | sam | demo`: the stack on this machine.

Environment: LOCAL_DIR (.local), PORT, CONCURRENCY, CONCURRENT_EXECUTIONS, DATABASE_URL,
GEMINI_API_KEY, MODEL_URL (base URL of another model than the stand-in), SWEEP_SECONDS,
EVENT_RETRY_SECONDS, MODEL_TIMEOUT_SECONDS, MAX_IMAGE_MEGABYTES, EXECUTION_DEADLINE_SECONDS,
PACE_MINUTE_SECONDS (a shorter minute for the lanes), IMAGE_ACCESS, ALLOW_PRIVATE_WEBHOOKS,
CONFIRMED_EMAILS, LOG_LEVEL, CORS_ALLOW_ORIGINS, SNAP_START (on: functions get credentials from an
endpoint).
"""

import argparse
import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

from local import lifecycle
from local.errors import StackError
from local.settings import Settings


def main() -> int:
    """Run one command; return 1 after one line on standard error if it fails."""
    parser = argparse.ArgumentParser(
        prog="python -m local", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("up", help="start the stack and return when it answers")
    commands.add_parser("down", help="stop the stack; the data stays")
    commands.add_parser("clean", help="stop the stack and delete its data")
    commands.add_parser("supervise")
    token = commands.add_parser("token", help="print a bearer token")
    token.add_argument("--user", default="client_a", help="admin, client_a, client_b, id or e-mail")
    reseal = commands.add_parser("reseal", help="seal API keys with the newest sealing key")
    reseal.add_argument("--add-key", action="store_true", help="add a sealing key first")
    sam = commands.add_parser("sam", help="serve the built functions in Lambda's containers")
    sam.add_argument("--built", type=Path, default=Path(".aws-sam/build/template.yaml"))
    sam.add_argument("--check", action="store_true", help="only look for Docker and its base image")
    demo = commands.add_parser("demo", help="run the demo", add_help=False)
    demo.add_argument("rest", nargs=argparse.REMAINDER)
    arguments = parser.parse_args()
    try:
        status = run(Settings.from_environment(), arguments)
        sys.stdout.flush()
    except StackError as error:
        print(error, file=sys.stderr)
        return 1
    except BrokenPipeError:
        # The reader of the output has ended, as in `… | head -1`. Python would fail again, because
        # it flushes standard output when it exits.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 128 + signal.SIGPIPE
    except KeyboardInterrupt:
        return 130
    return status


def announce(url: str, template: Path) -> None:
    """Print the address where SAM serves the API, and how to invoke one function."""
    path = os.path.relpath(template)
    print(
        f"""\
sam local serves {url} until Ctrl-C

# In another terminal: each function alone (Api, Fanout, Generate, Finalize), or a second API.
sam local invoke ApiFunction -t {path} --skip-pull-image -e examples/events/api.json
sam local start-api -t {path} --skip-pull-image --port 3000""",
        flush=True,
    )


def run(settings: Settings, arguments: argparse.Namespace) -> int:
    """Run the chosen command and return the exit status."""
    match arguments.command:
        case "up":
            print(lifecycle.describe(settings, lifecycle.up(settings)))
        case "down":
            running = lifecycle.down(settings)
            print("The stack is down." if running else "No stack was running.")
        case "clean":
            lifecycle.clean(settings)
        case "token":
            print(lifecycle.token(settings, arguments.user))
        case "reseal":
            return lifecycle.reseal(settings, add_key=arguments.add_key)
        case "sam":
            from local.aws import sam

            if arguments.check:
                sam.need_docker()
                return 0
            sam.serve(settings, arguments.built.absolute(), announce)
        case "demo":
            from local.demo.run import main as run_demo

            return run_demo(arguments.rest)
        case "supervise":
            return supervise(settings)
    return 0


def supervise(settings: Settings) -> int:
    """Run the supervisor. `up` starts this process and reads its report from a pipe."""
    from local.supervisor import supervise

    descriptor = int(os.environ.pop(lifecycle.READY_FD, "1"))
    os.set_inheritable(descriptor, False)

    def report(outcome: dict[str, Any]) -> None:
        try:
            os.write(descriptor, json.dumps(outcome).encode() + b"\n")
            os.close(descriptor)
        except OSError:
            # `up` ended without waiting.
            return

    return supervise(settings, report)


if __name__ == "__main__":
    sys.exit(main())
