// Prompts out of pasted text and dropped files, as the API reads them.

/**
 * One prompt a line. If blank lines separate blocks of several lines, one prompt a block.
 * @param {string} text
 */
export function splitPrompts(text) {
  const blocks = text.replaceAll(/\r\n?/g, "\n").split(/\n[^\S\n]*\n/).map((block) => block.trim()).filter(Boolean);
  const inBlocks = blocks.length > 1 && blocks.some((block) => block.includes("\n"));
  const prompts = inBlocks ? blocks : blocks.flatMap((block) => block.split("\n"));
  return { prompts: prompts.map((prompt) => prompt.trim()).filter(Boolean), inBlocks };
}

/**
 * The variables of a template: `{product}`. Doubled braces are plain ones.
 * @param {string} template
 * @returns {string[]}
 */
export function variablesOf(template) {
  const found = template.replaceAll("{{", "").replaceAll("}}", "").matchAll(/\{([^{}]+)\}/g);
  return [...new Set([...found].map((match) => (match[1] ?? "").trim()))];
}

/**
 * @param {string} template
 * @param {Record<string, unknown>} row
 */
export function filled(template, row) {
  return template.replace(/\{\{|\}\}|\{([^{}]+)\}/g, (whole, name) =>
    name === undefined ? whole.slice(1) : String(row[name.trim()] ?? whole),
  );
}

/** Columns of a file that are settings of a prompt, and no variables. */
export const SETTINGS = new Set(["custom_id", "aspect_ratio", "image_size", "images", "seed", "reference_images", "metadata"]);

/**
 * @typedef {{name: string, kind: "text" | "csv" | "jsonl", columns: string[], rows: Record<string, any>[]}} PromptFile
 */

/**
 * Reads a dropped file. Throws an Error with words for people.
 * @param {File} file
 * @returns {Promise<PromptFile>}
 */
export async function readPromptFile(file) {
  if (file.size > 50e6) throw new Error("The file is larger than 50 MB.");
  let text;
  try {
    text = new TextDecoder("utf-8", { fatal: true }).decode(await file.arrayBuffer());
  } catch {
    throw new Error("The file is not UTF-8. Save it as “CSV UTF-8” or plain text in UTF-8.");
  }
  const extension = file.name.split(".").pop()?.toLowerCase();
  if (extension === "jsonl" || extension === "ndjson") return { name: file.name, kind: "jsonl", ...readJsonLines(text) };
  if (extension === "csv" || extension === "tsv") return { name: file.name, kind: "csv", ...readCsv(text) };
  const rows = splitPrompts(text).prompts.map((prompt) => ({ prompt }));
  return { name: file.name, kind: "text", columns: ["prompt"], rows };
}

/** @param {string} text */
function readJsonLines(text) {
  /** @type {Record<string, any>[]} */
  const rows = [];
  text.split("\n").forEach((line, index) => {
    if (!line.trim()) return;
    let value;
    try {
      value = JSON.parse(line);
    } catch {
      throw new Error(`Line ${index + 1} is not JSON.`);
    }
    rows.push(typeof value === "string" ? { prompt: value } : value);
  });
  const columns = [...new Set(rows.flatMap((row) => Object.keys(row)))];
  return { columns, rows };
}

/** @param {string} text */
export function readCsv(text) {
  const [header = [], ...more] = cellsOf(text);
  const columns = namesOf(header.map((name) => name.trim()));
  const rows = more
    .filter((cells) => cells.some((cell) => cell.trim()))
    .map((cells) => Object.fromEntries(columns.map((name, index) => [name, cells[index] ?? ""])));
  if (!rows.length) throw new Error("The file has no rows below its header.");
  return { columns, rows };
}

/**
 * `Image size` and `imageSize` are `image_size`. Without prompts, the columns are a template's variables.
 * @param {string[]} columns
 */
function namesOf(columns) {
  const lettersOf = (/** @type {string} */ name) => name.toLowerCase().replaceAll(/[^a-z0-9]/g, "");
  const members = new Map(["prompt", ...SETTINGS].map((name) => [lettersOf(name), name]));
  const named = columns.map((name) => members.get(lettersOf(name)) ?? name);
  return named.includes("prompt") ? named : columns;
}

/**
 * RFC 4180, with the separators that the API knows. Excel names it in a first line `sep=;`.
 * @param {string} text
 */
function cellsOf(text) {
  const named = /^"?sep=([,;\t|])"?(?:\r\n?|\n|$)/i.exec(text);
  if (named) text = text.slice(named[0].length);
  const first = text.split(/[\r\n]/, 1)[0] ?? "";
  const separator = named?.[1] ?? [",", ";", "\t", "|"].reduce((best, mark) => (first.split(mark).length > first.split(best).length ? mark : best));
  /** @type {string[][]} */
  const rows = [[]];
  let cell = "";
  let isQuoted = false;
  for (let at = 0; at < text.length; at += 1) {
    const mark = text[at];
    if (isQuoted) {
      if (mark !== '"') cell += mark;
      else if (text[at + 1] === '"') {
        cell += '"';
        at += 1;
      } else isQuoted = false;
    } else if (mark === '"' && cell === "") isQuoted = true;
    else if (mark === separator || mark === "\n" || mark === "\r") {
      rows.at(-1)?.push(cell);
      cell = "";
      if (mark !== separator) rows.push([]);
      if (mark === "\r" && text[at + 1] === "\n") at += 1;
    } else cell += mark;
  }
  rows.at(-1)?.push(cell);
  return rows;
}

/**
 * What the draft asks to paint: a list of prompts, or a template with rows.
 * @param {import("./draft.js").Draft} draft
 * @param {PromptFile | null} file
 */
export function contentOf(draft, file) {
  if (!file) return { prompts: splitPrompts(draft.text).prompts };
  if (file.columns.includes("prompt")) return { prompts: file.rows.map(promptOf) };
  return { template: draft.text.trim(), rows: file.rows.map(settingsOf), combine: draft.combine };
}

/** @param {Record<string, any>} row */
function promptOf(row) {
  const { prompt, ...others } = row;
  const settings = settingsOf(Object.fromEntries(Object.entries(others).filter(([name]) => SETTINGS.has(name))));
  return Object.keys(settings).length ? { prompt, ...settings } : prompt;
}

/**
 * Empty cells say nothing; numbers of a CSV arrive as text. The API refuses a text that is no number: JSON would
 * make it null, which says nothing.
 * @param {Record<string, any>} row
 */
function settingsOf(row) {
  const given = Object.entries(row).filter(([name, value]) => !(SETTINGS.has(name) && value === ""));
  const isNumber = (/** @type {string} */ name, /** @type {any} */ value) =>
    ["images", "seed"].includes(name) && Number.isFinite(Number(value));
  return Object.fromEntries(given.map(([name, value]) => [name, isNumber(name, value) ? Number(value) : value]));
}
