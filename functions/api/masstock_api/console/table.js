// Tables that become cards on a phone, and forms in a dialog.
import { html, useState } from "./preact.js";
import { attempt } from "./api.js";
import { Dialog, Field, Notice, problemOf, titleOf, useIsHere, wordsOf } from "./parts.js";
import { say } from "./state.js";

/**
 * @param {object} props
 * @param {string} props.label
 * @param {any[]} props.rows
 * @param {{name: string, cell: (row: any) => any, isNumber?: boolean}[]} props.columns
 * @param {string} props.empty
 */
export function Table({ label, rows, columns, empty }) {
  if (!rows.length) return html`<p class="quiet none">${empty}</p>`;
  return html`<div class="table"><table aria-label=${label}><thead><tr>${columns.map((column) => html`<th key=${column.name} scope="col" class=${column.isNumber ? "number" : ""}>${column.name || html`<span class="hidden">Actions</span>`}</th>`)}</tr></thead>
    <tbody>${rows.map((row, index) => html`<tr key=${row.id ?? index}>${columns.map((column) => html`<td key=${column.name} data-name=${column.name} class=${column.isNumber ? "number" : ""}>${column.cell(row)}</td>`)}</tr>`)}</tbody></table></div>`;
}

/**
 * @typedef {object} FormField
 * @property {string} name
 * @property {string} label
 * @property {"text" | "email" | "url" | "number" | "area" | "select" | "check"} [type]
 * @property {{value: string, text: string}[]} [options]
 * @property {string} [hint]
 * @property {string} [pattern]
 * @property {string} [form] the pattern in words
 * @property {boolean} [optional]
 * @property {number} [step]
 * @property {number} [least]
 * @property {(values: Record<string, any>) => boolean} [shown]
 */

/**
 * @param {object} props
 * @param {string} props.title
 * @param {string} props.verb
 * @param {FormField[]} props.fields
 * @param {Record<string, any>} props.values what the form begins with
 * @param {(values: Record<string, any>, key: string) => Promise<unknown>} props.save
 * @param {() => void} props.onClose
 * @param {any} [props.children]
 */
export function FormDialog({ title, verb, fields, values: begin, save, onClose, children }) {
  const [values, setValues] = useState(begin);
  const [problem, setProblem] = useState(/** @type {any} */ (null));
  const [isBusy, setBusy] = useState(false);
  const isHere = useIsHere();
  const set = (/** @type {string} */ name, /** @type {any} */ value) => setValues((last) => ({ ...last, [name]: value }));
  const submit = async (/** @type {Event} */ event) => {
    event.preventDefault();
    setBusy(true);
    setProblem(null);
    try {
      const key = await attempt.keyOf(title, values);
      await save(values, key);
      attempt.forget(key);
      if (isHere.current) onClose();
    } catch (error) {
      if (!isHere.current) say(problemOf(error, fields));
      setProblem(error);
      setBusy(false);
    }
  };
  return html`<${Dialog} title=${title} onClose=${onClose}><form onSubmit=${submit}>
    ${children}
    ${fields.filter((field) => field.shown?.(values) ?? true).map((field) => html`<${Input} key=${field.name} field=${field} value=${values[field.name]} onChange=${(/** @type {any} */ value) => set(field.name, value)} />`)}
    ${problem && html`<${Notice} kind="bad" title=${titleOf(problem)}>${wordsOf(problem, fields)}<//>`}
    <p class="row end"><button type="button" class="button" onClick=${onClose}>Back</button><button class="button primary" disabled=${isBusy}>${verb}</button></p>
  </form><//>`;
}

/** @param {{field: FormField, value: any, onChange: (value: any) => void}} props */
function Input({ field, value, onChange }) {
  const { type = "text", label, hint, optional = false, options = [], step, least, pattern, form } = field;
  const take = (/** @type {any} */ event) => onChange(event.target.value);
  if (type === "check") {
    return html`<label class="check"><input type="checkbox" checked=${Boolean(value)} onChange=${(/** @type {any} */ event) => onChange(event.target.checked)} /> <span>${label}</span></label>`;
  }
  return html`<${Field} label=${label} hint=${hint} optional=${optional}>${
    type === "select"
      ? html`<select value=${value ?? ""} onChange=${take}>${options.map((one) => html`<option key=${one.value} value=${one.value}>${one.text}</option>`)}</select>`
    : type === "area"
      ? html`<textarea rows="3" required=${!optional} value=${value ?? ""} onInput=${take}></textarea>`
    : html`<input type=${type} required=${!optional} step=${step} min=${least} pattern=${pattern} title=${form} value=${value ?? ""} onInput=${take} />`
  }<//>`;
}
