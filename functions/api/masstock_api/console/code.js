// A batch as curl, Python and TypeScript: whatever the console does, a script can do.
import { html, useState } from "./preact.js";
import { Act, copy } from "./parts.js";

const SHOWN = 20;
const KEY = "<key>";

/** @param {{execution: import("./types.js").Execution}} props */
export default function Code({ execution }) {
  const [language, setLanguage] = useState("curl");
  const text = LANGUAGES[language]?.(bodyOf(execution), location.origin) ?? "";
  return html`<p>Put your token in <code>TOKEN</code> and the model's key in <code>API_KEY</code>.</p>
    <div class="tabs" role="group" aria-label="Language">${Object.keys(LANGUAGES).map((name) => html`<button key=${name} aria-pressed=${name === language}
      onClick=${() => setLanguage(name)}>${name}</button>`)}</div>
    <pre class="code" tabindex="0"><code>${text}</code></pre>
    <p class="row end"><${Act} class="primary" act=${() => copy(text)}>Copy<//></p>`;
}

/** @param {import("./types.js").Execution} execution @returns {Record<string, unknown>} */
function bodyOf(execution) {
  const { prompts = [], reference_etags: _, ...settings } = /** @type {any} */ (execution.input_data ?? {});
  const given = Object.fromEntries(Object.entries(settings).filter(([, value]) => value !== null && !(Array.isArray(value) && !value.length)));
  const more = prompts.length > SHOWN ? [`… and ${prompts.length - SHOWN} more`] : [];
  return {
    workflow_id: execution.workflow_id,
    ...(execution.name && { name: execution.name }),
    ...(execution.tier === "economy" && { tier: "economy" }),
    prompts: [...prompts.slice(0, SHOWN), ...more],
    ...given,
  };
}

/** @type {Record<string, (body: Record<string, unknown>, base: string) => string>} */
const LANGUAGES = {
  curl: (body, base) => `curl -s ${base}/v1/executions \\
  -H "Authorization: Bearer $TOKEN" -H "Content-Type: application/json" \\
  -d '${JSON.stringify({ ...body, api_key: KEY }, null, 2).replaceAll("'", "'\\''").replace(KEY, `'"$API_KEY"'`)}'`,
  Python: (body, base) => `import os
import time

import requests

BASE = "${base}"
session = requests.Session()
session.headers["Authorization"] = f"Bearer {os.environ['TOKEN']}"
body = ${python(body)}
body["api_key"] = os.environ["API_KEY"]
batch = session.post(f"{BASE}/v1/executions", json=body).json()
path = f"{BASE}/v1/executions/{batch['id']}"
while session.get(path).json()["status"] in ("pending", "processing"):
    time.sleep(2)
for result in session.get(f"{path}/results", params={"limit": 200}).json()["items"]:
    if result["status"] == "completed":
        image = session.get(f"{path}/results/{result['batch_index']}/image")
        with open(f"{result['batch_index']:04}.png", "wb") as file:
            file.write(image.content)`,
  TypeScript: (body, base) => `const base = "${base}";
const headers = { Authorization: \`Bearer \${process.env.TOKEN}\`, "Content-Type": "application/json" };
const body = ${JSON.stringify(body, null, 2)};
const answer = await fetch(\`\${base}/v1/executions\`, {
  method: "POST",
  headers,
  body: JSON.stringify({ ...body, api_key: process.env.API_KEY }),
});
const { id } = await answer.json();
let batch;
do {
  await new Promise((resolve) => setTimeout(resolve, 2000));
  batch = await (await fetch(\`\${base}/v1/executions/\${id}\`, { headers })).json();
} while (batch.status === "pending" || batch.status === "processing");
const results = await (await fetch(\`\${base}/v1/executions/\${id}/results?limit=200\`, { headers })).json();
for (const { batch_index, result_url } of results.items) console.log(batch_index, result_url);`,
};

/** @param {unknown} value */
function python(value) {
  return JSON.stringify(value, null, 4).replace(/\btrue\b(?=,?$)/gm, "True").replace(/\bfalse\b(?=,?$)/gm, "False").replace(/\bnull\b(?=,?$)/gm, "None");
}
