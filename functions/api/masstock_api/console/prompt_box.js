// The large box of prompts, and the preview of a dropped file.
import { html, useRef, useState } from "./preact.js";
import { change, draft, promptFile } from "./draft.js";
import { count, many } from "./format.js";
import { Chips } from "./parts.js";
import { SETTINGS, filled, readPromptFile, splitPrompts } from "./prompts.js";
import { say, useStore } from "./state.js";

// Rows of a file that the page shows.
const SHOWN = 5;
const EXAMPLE = "A ceramic mug on a slate table, morning light\nThe same mug in a sunny kitchen\nThe mug from above, filled with coffee";

/** @param {{counted: {prompts: number, unknown: string[], needsTemplate: boolean}, most: number}} props */
export function PromptBox({ counted, most }) {
  const now = useStore(draft);
  const file = useStore(promptFile);
  const [isOver, setOver] = useState(false);
  const picker = useRef(/** @type {HTMLInputElement | null} */ (null));
  const isTemplate = file !== null && !file.columns.includes("prompt");
  const read = async (/** @type {File | undefined} */ chosen) => {
    if (!chosen) return;
    try {
      promptFile.set(await readPromptFile(chosen));
    } catch (error) {
      say(/** @type {Error} */ (error).message);
    }
  };
  const drop = (/** @type {DragEvent} */ event) => {
    const [dropped] = [...(event.dataTransfer?.files ?? [])];
    setOver(false);
    if (!dropped || dropped.type.startsWith("image/")) return;
    event.preventDefault();
    event.stopPropagation();
    read(dropped);
  };
  return html`<section class=${isOver ? "box over" : "box"} onDrop=${drop} onDragLeave=${() => setOver(false)}
      onDragOver=${(/** @type {Event} */ event) => { event.preventDefault(); setOver(true); }}>
    ${(!file || isTemplate) && html`
      <label class="box-label" for="prompts">${isTemplate ? "Template" : "Prompts"}</label>
      <textarea id="prompts" rows=${isTemplate ? 3 : 12} value=${now.text} aria-describedby="prompt-count"
        placeholder=${isTemplate ? `A {${file.columns[0]}} on a wooden table` : EXAMPLE}
        onInput=${(/** @type {any} */ event) => change({ text: event.target.value })}></textarea>`}
    <div class="box-foot"><p id="prompt-count" aria-live="polite" class=${counted.prompts > most || counted.unknown.length ? "bad" : ""}>${saying(counted, most, now.text, file)}</p>
      <input ref=${picker} type="file" hidden accept=".txt,.csv,.tsv,.jsonl,.ndjson" onChange=${(/** @type {any} */ event) => { read(event.target.files[0]); event.target.value = ""; }} />
      ${!file && html`<button class="link" onClick=${() => picker.current?.click()}>Use a text file or a table (TXT, CSV, JSONL)</button>`}</div>
  </section>`;
}

/**
 * @param {{prompts: number, unknown: string[], needsTemplate: boolean}} counted
 * @param {number} most
 * @param {string} text
 * @param {import("./prompts.js").PromptFile | null} file
 */
function saying(counted, most, text, file) {
  if (counted.unknown.length) return `The file has no column ${counted.unknown.map((name) => `“${name}”`).join(", ")}.`;
  if (file && counted.needsTemplate) return `Write a template. Put a column in braces: ${file.columns.slice(0, 3).map((name) => `{${name}}`).join(" ")}`;
  if (counted.prompts > most) return `${many(counted.prompts, "prompt")}. This workflow takes ${count(most)} at once.`;
  if (file) return many(counted.prompts, "prompt");
  if (!counted.prompts) return "One prompt a line. If a prompt has several lines, put a blank line between prompts.";
  return `${many(counted.prompts, "prompt")}${splitPrompts(text).inBlocks ? ", separated by blank lines" : ""}`;
}

/** @param {{file: import("./prompts.js").PromptFile}} props */
export function FilePreview({ file }) {
  const now = useStore(draft);
  const isTemplate = !file.columns.includes("prompt");
  const isFilled = isTemplate && now.text.trim() !== "";
  const columns = file.columns.slice(0, 6);
  // The column that holds the prompts may have another name.
  const take = (/** @type {string} */ column) => promptFile.set({
    ...file,
    columns: file.columns.map((name) => (name === column ? "prompt" : name)),
    rows: file.rows.map(({ [column]: prompt, ...others }) => ({ prompt, ...others })),
  });
  return html`<section class="card file" aria-label="File">
    <header><b>${file.name}</b><span>${many(file.rows.length, "row")}</span>
      <button class="button" onClick=${() => promptFile.set(null)}>Remove</button></header>
    <div class="scroll" tabindex="0" role="region" aria-label="First rows"><table><thead><tr>${isFilled && html`<th scope="col">Prompt</th>`}
      ${columns.map((name) => html`<th key=${name} scope="col">${name}<small>${roleOf(name, isTemplate)}</small></th>`)}</tr></thead>
      <tbody>${file.rows.slice(0, SHOWN).map((row, index) => html`<tr key=${index}>${isFilled && html`<td class="filled">${filled(now.text, row)}</td>`}
        ${columns.map((name) => html`<td key=${name}>${textOf(row[name])}</td>`)}</tr>`)}</tbody></table></div>
    ${file.rows.length > SHOWN && html`<p class="quiet">and ${many(file.rows.length - SHOWN, "more row")}</p>`}
    ${isTemplate && html`<div class="row wrap"><span>Is one column the whole prompt?</span>
      ${file.columns.filter((name) => !SETTINGS.has(name)).map((name) => html`<button key=${name} class="button small" onClick=${() => take(name)}>${name}</button>`)}</div>
      <${Chips} label="Rows" name="combine" value=${now.combine} onChange=${(/** @type {"rows" | "product"} */ combine) => change({ combine })}
        options=${[{ value: "rows", text: "One prompt a row" }, { value: "product", text: "Every combination" }]} />`}
  </section>`;
}

/** @param {string} name @param {boolean} isTemplate */
function roleOf(name, isTemplate) {
  if (name === "prompt") return "painted";
  if (name === "custom_id") return "your name for it";
  if (SETTINGS.has(name)) return "setting";
  return isTemplate ? "variable" : "not used";
}

/** @param {unknown} value */
function textOf(value) {
  return value === undefined || value === null ? "" : typeof value === "object" ? JSON.stringify(value) : String(value);
}
