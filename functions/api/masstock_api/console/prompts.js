// Prompts out of pasted text and dropped files, as the API reads them.

/**
 * One prompt a line. If blank lines separate blocks of several lines, one prompt a block.
 * @param {string} text
 */
export function splitPrompts(text) {
  const blocks = text.replaceAll("\r\n", "\n").split(/\n[^\S\n]*\n/).map((block) => block.trim()).filter(Boolean);
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
  const [header = "", ...more] = cellsOf(text);
  const columns = [...header].map((name) => name.trim());
  const rows = more
    .filter((cells) => cells.some((cell) => cell.trim()))
    .map((cells) => Object.fromEntries(columns.map((name, index) => [name, cells[index] ?? ""])));
  if (!rows.length) throw new Error("The file has no rows below its header.");
  return { columns, rows };
}

/**
 * RFC 4180, with commas, semicolons or tabs.
 * @param {string} text
 */
function cellsOf(text) {
  const first = text.split("\n", 1)[0] ?? "";
  const separator = [",", ";", "\t"].reduce((best, mark) => (first.split(mark).length > first.split(best).length ? mark : best));
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
    else if (mark === separator || mark === "\n") {
      rows.at(-1)?.push(cell.replace(/\r$/, ""));
      cell = "";
      if (mark === "\n") rows.push([]);
    } else cell += mark;
  }
  rows.at(-1)?.push(cell);
  return rows;
}
