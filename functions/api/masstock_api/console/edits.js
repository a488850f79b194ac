// Prompts to paint again. While the batch runs they are collected; then one run paints all of them.
import { html, useState } from "./preact.js";
import { Dialog, Field } from "./parts.js";
import { keptEdits, session } from "./session.js";
import { store } from "./state.js";

/** By execution: the new prompt by index; null paints the same prompt again.
 * @typedef {Record<string, Record<number, string | null>>} Edits */

const state = store(/** @type {Edits} */ (JSON.parse(keptEdits.get() ?? "{}")));

/** @param {Edits} next */
function keep(next) {
  state.set(next);
  keptEdits.set(JSON.stringify(next));
}

session.onLeave(() => keep({}));

export const edits = {
  get: state.get,
  subscribe: state.subscribe,
  /** @param {string} id @param {number} index @param {string | null} prompt */
  add(id, index, prompt) {
    keep({ ...state.get(), [id]: { ...state.get()[id], [index]: prompt } });
  },
  /** What was collected since these were sent stays.
   * @param {string} id @param {{batch_index: number, prompt?: string}[]} sent */
  forget(id, sent) {
    const { [id]: planned, ...others } = state.get();
    const left = { ...planned };
    for (const { batch_index, prompt = null } of sent) if (left[batch_index] === prompt) delete left[batch_index];
    keep(Object.keys(left).length ? { ...others, [id]: left } : others);
  },
  /** @param {string} id @returns {{batch_index: number, prompt?: string}[]} */
  of(id) {
    return Object.entries(state.get()[id] ?? {}).map(([index, prompt]) => ({ batch_index: Number(index), ...(prompt !== null && { prompt }) }));
  },
};

/** @param {string} id @param {number} index */
export function planOf(id, index) {
  const prompt = state.get()[id]?.[index];
  if (prompt === undefined) return undefined;
  return prompt === null ? "To be painted again" : `To be painted as: ${prompt}`;
}

/** @param {{result: import("./types.js").Result, isLive: boolean, onClose: () => void}} props */
export function EditPrompt({ result, isLive, onClose }) {
  const [text, setText] = useState(state.get()[result.execution_id]?.[result.batch_index] ?? result.prompt_text);
  const save = (/** @type {Event} */ event) => {
    event.preventDefault();
    edits.add(result.execution_id, result.batch_index, text.trim() === result.prompt_text ? null : text.trim());
    onClose();
  };
  return html`<${Dialog} title="Edit prompt" onClose=${onClose}><form onSubmit=${save}>
    ${result.provider_message && html`<blockquote><small>The provider says</small>${result.provider_message}</blockquote>`}
    <${Field} label=${`Prompt ${result.batch_index + 1}`}>
      <textarea rows="5" autofocus value=${text} onInput=${(/** @type {any} */ event) => setText(event.target.value)}></textarea><//>
    <p class="row end"><button type="button" class="button" onClick=${onClose}>Back</button>
      <button class="button primary" disabled=${!text.trim()}>${isLive ? "Paint it when this batch ends" : "Add to the retry"}</button></p>
  </form><//>`;
}
