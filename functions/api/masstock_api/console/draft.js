// The batch that is being written. It survives a reload of the tab; its files do not.
import { keptDraft, session } from "./session.js";
import { store } from "./state.js";

/** @typedef {{id: number, name: string, preview: string, key: string, done: number, error: string}} Reference */
/**
 * @typedef {object} Draft
 * @property {string} text the prompts, or the template of a file's rows
 * @property {string} name
 * @property {string} workflow
 * @property {string} ratio "" leaves it to the workflow
 * @property {string} size "" leaves it to the workflow
 * @property {number} images
 * @property {"standard" | "economy"} tier
 * @property {"rows" | "product"} combine
 */

/** @type {Draft} */
const EMPTY = { text: "", name: "", workflow: "", ratio: "", size: "", images: 1, tier: "standard", combine: "rows" };


/** @returns {Draft} */
function saved() {
  try {
    return { ...EMPTY, ...JSON.parse(keptDraft.get() ?? "{}") };
  } catch {
    return EMPTY;
  }
}

export const draft = store(saved());
export const references = store(/** @type {Reference[]} */ ([]));
export const promptFile = store(/** @type {import("./prompts.js").PromptFile | null} */ (null));

/** @param {Partial<Draft>} part */
export function change(part) {
  draft.set({ ...draft.get(), ...part });
  keptDraft.set(JSON.stringify(draft.get()));
}

session.onLeave(() => startOver({ workflow: "" }));

/** @param {Partial<Draft>} [part] what the next batch begins with */
export function startOver(part = {}) {
  const { workflow } = draft.get();
  draft.set({ ...EMPTY, workflow, ...part });
  keptDraft.set(JSON.stringify(draft.get()));
  references.set([]);
  promptFile.set(null);
}
