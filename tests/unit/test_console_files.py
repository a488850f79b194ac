"""The console reads a dropped file as the API reads an uploaded one."""

import base64
import json
import subprocess

import pytest

from masstock_api.prompt_lists.csv_files import read_csv
from masstock_api.prompt_lists.text_files import read_text
from tools.npm import NODE, ROOT

CONSOLE = ROOT / "functions/api/masstock_api/console"
SCRIPT = """
import {{ readFileSync }} from "node:fs";
import {{ contentOf, readPromptFile }} from {prompts};
const files = JSON.parse(readFileSync(0, "utf8"));
const read = [];
for (const [name, content] of files) {{
  const file = await readPromptFile(new File([Buffer.from(content, "base64")], name));
  read.push(contentOf({{ text: "" }}, file).prompts);
}}
console.log(JSON.stringify(read));
"""
FILES = {
    "plain.csv": "prompt,seed\na,1\nb,\n",
    "excel.csv": '\ufeff"sep=;"\r\nprompt;seed\r\n"a; ""b""";1\r\nc,d;2\r\n',
    "old-mac.csv": "prompt,seed\ra,1\rb,2\r",
    "pipes.csv": "prompt|custom_id\na, b|x\n",
    "tabs.csv": "sep=\t\nprompt\tseed\na,b;c\t4\n",
    "titles.csv": "Prompt,Custom ID,Image-Size,aspectRatio\na,x,2K,16:9\n",
    "rows.csv": 'prompt,custom_id\n"a\r\nb",x\r\n , \r\n,\r\nc,y',
    "lines.txt": "a\rb\r\rc\r",
    "blocks.txt": "\ufeffa\r\nb\r\n \r\nc\r\n",
}


@pytest.fixture(scope="module")
def console() -> dict[str, object]:
    """What the console submits for each file."""
    script = SCRIPT.format(prompts=json.dumps(str(CONSOLE / "prompts.js")))
    files = [(name, base64.b64encode(text.encode()).decode()) for name, text in FILES.items()]
    files.append(("numbers.csv", base64.b64encode(b'prompt,seed\na,"1,234"\nb,42.0\n').decode()))
    done = subprocess.run(
        [NODE, "--input-type=module", "-e", script],
        input=json.dumps(files),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return dict(zip([name for name, _ in files], json.loads(done.stdout), strict=True))


@pytest.mark.parametrize("name", FILES)
def test_the_console_reads_a_file_as_the_api(console: dict[str, object], name: str) -> None:
    content = FILES[name].encode()
    rows = read_csv(content, None) if name.endswith(".csv") else read_text(content)
    members = [{k: v for k, v in row.items() if v not in ("", None)} for row in rows.members]
    expected = [row if len(row) > 1 else row["prompt"] for row in members]
    assert console[name] == expected


def test_a_number_that_is_none_is_left_to_the_api(console: dict[str, object]) -> None:
    """JSON would make it null, and the prompt would be painted without its seed."""
    assert console["numbers.csv"] == [
        {"prompt": "a", "seed": "1,234"},
        {"prompt": "b", "seed": 42},
    ]
