"""The commands of the README, in their order."""

import re
import subprocess
from pathlib import Path

ROOT = Path(__file__).parents[2]
README = ROOT / "README.md"
FENCES = re.compile(r"^```(?P<language>.*)\n(?P<block>(?s:.*?))^```$", re.MULTILINE)
PROGRAMS = r"(?:make|python3?|curl|aws|git|uv|pip|sam|docker)"
# A block of commands, or a command in a sentence.
COMMANDS = re.compile(rf"{FENCES.pattern}|`(?P<inline>{PROGRAMS} [^`]+)`", re.MULTILINE)


def commands() -> list[str]:
    """Every command, also those in sentences, without comments."""
    found: list[str] = []
    for match in COMMANDS.finditer(README.read_text()):
        if match["inline"]:
            found.append(" ".join(match["inline"].split()))
        elif match["language"] == "sh":
            found += statements(match["block"])
    return found


def unmarked_commands() -> list[str]:
    """Lines that look like commands but stand in blocks that are not marked as `sh`."""
    others = [m["block"] for m in FENCES.finditer(README.read_text()) if m["language"] != "sh"]
    return re.findall(rf"^[$ ]*{PROGRAMS} .*", "\n".join(others), re.MULTILINE)


def statements(script: str) -> list[str]:
    """The script's top-level statements. A statement can have several lines."""
    found: list[str] = []
    begun = ""
    for line in script.splitlines(keepends=True):
        if not begun and (not line.strip() or line.startswith("#")):
            continue
        begun += line
        if _is_complete(begun):
            found.append(begun.rstrip("\n"))
            begun = ""
    assert not begun, f"not a statement of bash: {begun}"
    return found


def _is_complete(text: str) -> bool:
    if text.endswith("\\\n"):
        return False
    parsed = subprocess.run(["bash", "-n"], input=text, text=True, capture_output=True, check=False)
    # For a here-document without its end, bash only prints a warning.
    return parsed.returncode == 0 and not parsed.stderr


def ci_commands() -> list[str]:
    """The commands that CI runs on a fresh clone."""
    script = (ROOT / ".ci/run").read_text()
    return re.findall(r"^make .+$", script, re.MULTILINE)
