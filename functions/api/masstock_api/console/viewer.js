// One picture, large: arrows to the others, its facts, and what can be done with it.
import { html, useEffect, useState } from "./preact.js";
import { startOver } from "./draft.js";
import { bytes, money } from "./format.js";
import { isAboutPrompt, sentenceOf } from "./outcomes.js";
import { Act, Dialog, copy } from "./parts.js";
import { addressOf, download, fetchImage, fileNameOf } from "./results.js";
import { go } from "./state.js";
import { addReferences } from "./uploads.js";

/** @typedef {import("./types.js").Result} Result */

/**
 * @param {object} props
 * @param {number} props.position
 * @param {number} props.total
 * @param {(position: number) => Result | undefined} props.resultOf
 * @param {(position: number) => string} props.promptOf
 * @param {(position: number) => void} props.onMove
 * @param {() => void} props.onClose
 * @param {(result: Result) => void} [props.onEdit]
 * @param {(result: Result) => void} [props.onAgain]
 * @param {any} [props.settings]
 * @param {boolean} [props.isInLibrary]
 */
export function Viewer({ position, total, resultOf, promptOf, onMove, onClose, onEdit, onAgain, settings, isInLibrary }) {
  const result = resultOf(position);
  const go = (/** @type {number} */ step) => {
    const next = position + step;
    if (next >= 0 && next < total) onMove(next);
  };
  useEffect(() => {
    const press = (/** @type {KeyboardEvent} */ event) => {
      if (event.key === "ArrowRight") go(1);
      if (event.key === "ArrowLeft") go(-1);
    };
    addEventListener("keydown", press);
    return () => removeEventListener("keydown", press);
  });
  const prompt = result?.prompt_text ?? promptOf(position);
  return html`<${Dialog} title=${`Image ${position + 1} of ${total}`} wide onClose=${onClose}><div class="viewer">
    <div class="stage"><${Stage} key=${position} result=${result} prompt=${prompt} />
      <button class="icon side left" aria-label="Previous image" disabled=${position === 0} onClick=${() => go(-1)}>‹</button>
      <button class="icon side right" aria-label="Next image" disabled=${position + 1 >= total} onClick=${() => go(1)}>›</button></div>
    <div class="facts-side"><p class="prompt">${prompt}</p>
      ${result?.original_prompt && result.original_prompt !== prompt && html`<p class="quiet">First asked as: ${result.original_prompt}</p>`}
      ${result?.status === "failed" && html`<p class="bad">${sentenceOf(result.error_code)}</p>
        ${result.provider_message && html`<blockquote><small>The provider says</small>${result.provider_message}</blockquote>`}
        <div class="row wrap">${onEdit && html`<button class=${isAboutPrompt(result.error_code) ? "button primary" : "button"} onClick=${() => onEdit(result)}>Edit prompt</button>`}
          ${onAgain && result.retryable && html`<button class="button" onClick=${() => onAgain(result)}>Try again</button>`}</div>`}
      ${result?.status === "completed" && html`<${Facts} result=${result} />
        <div class="row wrap"><${Act} class="primary" act=${() => download(result)}>Download<//>
          <button class="button" onClick=${() => again(result, settings, 1)}>Change the prompt</button>
          <button class="button" onClick=${() => again(result, settings, 4)}>More like this</button>
          <${Act} act=${() => useAsReference(result)}>Use as reference<//>
          <${Act} act=${() => copy(prompt)}>Copy prompt<//>
          ${isInLibrary && html`<a class="button" href=${`#/batches/${result.execution_id}`} onClick=${onClose}>Its batch</a>`}</div>`}
    </div></div><//>`;
}

/** @param {{result: Result | undefined, prompt: string}} props */
function Stage({ result, prompt }) {
  const [isHere, setHere] = useState(false);
  if (result?.status === "failed") return html`<div class="none failed"><p>No picture</p></div>`;
  if (result?.status !== "completed") return html`<div class="none"><span class="shimmer"></span><p>Not painted yet</p></div>`;
  const small = addressOf(result, "thumbnail");
  const full = addressOf(result, "image");
  return html`${!isHere && small !== full && html`<img class="under" src=${small} alt="" />`}
    <img src=${full} alt=${prompt} class=${isHere ? "here" : "arriving"} onLoad=${() => setHere(true)} />`;
}

/** @param {{result: Result}} props */
function Facts({ result }) {
  const facts = [
    ["Model", result.model],
    ["Size", result.width && `${result.width} × ${result.height}`],
    ["File", result.size_bytes && `${(result.mime_type ?? "").replace("image/", "").toUpperCase()}, ${bytes(result.size_bytes)}`],
    ["Cost", result.cost_microusd !== null && money(result.cost_microusd)],
    ["Your name", result.custom_id],
    ["Seed", result.seed],
  ].filter(([, value]) => value !== null && value !== undefined && value !== false && value !== "");
  return html`<dl class="facts-list">${facts.map(([name, value]) => html`<div key=${name}><dt>${name}</dt><dd>${value}</dd></div>`)}</dl>
    ${result.as_asked === false && html`<p class="quiet">The model chose another shape or size than asked.</p>`}`;
}

/** Begins a batch with the prompt. @param {Result} result @param {any} settings @param {number} images */
function again(result, settings, images) {
  startOver({ text: result.prompt_text, images, ratio: settings?.aspect_ratio ?? "", size: settings?.image_size ?? "" });
  go("new");
}

/** @param {Result} result */
async function useAsReference(result) {
  const blob = await fetchImage(result);
  startOver();
  addReferences([new File([blob], fileNameOf(result), { type: result.mime_type ?? blob.type })], 14);
  go("new");
}
