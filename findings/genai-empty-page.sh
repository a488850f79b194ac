#!/usr/bin/env bash
# Guess: Iterating over client.batches.list() gives the entries of all pages. An empty page with a
#   token for the next one is allowed by Google's API rules.
# So: An empty first page is skipped. An empty page after the first one raises IndexError, and the
#   entries of the later pages are not reached. files.list() does the same.
# Matters: A program that looks for a job whose creation got no answer must read all pages. One
#   empty page hides the job, and the program creates and pays it again. Follow the page tokens
#   yourself.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python=$(for p in python3.13 "$HOME"/.pyenv/versions/3.13.*/bin/python3.13 python3.12 python3.11 python3; do
  if "$p" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then echo "$p"; break; fi
done)
"${python:?This script needs Python 3.11 or later.}" -m venv venv
venv/bin/pip install -qq --disable-pip-version-check 'google-genai==3.6.1'

venv/bin/python - <<'EOF'
import http.server
import json
import sys
import threading
from importlib.metadata import version
from urllib.parse import parse_qs, urlsplit

from google import genai
from google.genai import types

failed = []


def check(words, seen, expected):
    print(f"{words}\n    {seen!r}")
    if seen != expected:
        print(f"    CHANGED. It was {expected!r}")
        failed.append(words)



def serve(answer):
    """A local HTTP server. `answer` gets the request and the body and returns status, headers, bytes."""

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_):
            pass

        def handle_one(self):
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            server.calls.append((self.command, self.path, body))
            status, headers, content = answer(self, body)
            self.send_response(status)
            for name, value in ({"Content-Length": str(len(content))} | headers).items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST = do_PUT = handle_one

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    server.calls = []
    threading.Thread(target=server.serve_forever, daemon=True).start()
    server.url = f"http://127.0.0.1:{server.server_port}"
    return server


print(f"google-genai {version('google-genai')}")


def client(answer):
    options = types.HttpOptions(base_url=serve(answer).url, timeout=5000)
    return genai.Client(api_key="key", vertexai=False, http_options=options)


def pages(*counts):
    """Answer with pages of so many entries."""

    def answer(request, body):
        number = int(parse_qs(urlsplit(request.path).query).get("pageToken", ["0"])[0])
        entries = [{"name": f"batches/{number}-{i}"} for i in range(counts[number])]
        page = ({"operations": entries, "batches": entries, "files": entries} if entries else {})
        page |= {"nextPageToken": str(number + 1)} if number + 1 < len(counts) else {}
        return 200, {"Content-Type": "application/json"}, json.dumps(page).encode()

    return answer


def names(service, *counts):
    found = []
    try:
        made = client(pages(*counts))
        for entry in getattr(made, service).list():
            found.append(entry.name.rpartition("/")[2])
    except IndexError as error:
        found.append(f"IndexError: {error}")
    return found


check("batches.list(), pages of 1, 1 and 1 entries", names("batches", 1, 1, 1), ["0-0", "1-0", "2-0"])
check("batches.list(), pages of 0, 1 and 1 entries", names("batches", 0, 1, 1), ["1-0", "2-0"])
check("batches.list(), pages of 1, 0 and 1 entries", names("batches", 1, 0, 1), ["0-0", "IndexError: list index out of range"])
check("files.list(), pages of 1, 0 and 1 entries", names("files", 1, 0, 1), ["0-0", "IndexError: list index out of range"])

sys.exit(bool(failed))
EOF
