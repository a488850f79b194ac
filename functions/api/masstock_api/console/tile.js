// One picture of a batch: arriving, here, or failed.
import { html, useLayoutEffect, useRef, useState } from "./preact.js";
import { isAboutPrompt, sentenceOf } from "./outcomes.js";
import { addressOf } from "./results.js";

/**
 * @param {object} props
 * @param {import("./types.js").Result | undefined} props.result
 * @param {string} props.prompt
 * @param {number} props.number
 * @param {() => void} props.onOpen
 * @param {() => void} [props.onEdit]
 * @param {() => void} [props.onAgain]
 * @param {string} [props.planned] what is collected for this prompt
 * @param {boolean} [props.isPicking]
 * @param {boolean} [props.isPicked]
 * @param {string} [props.note]
 */
export function Tile({ result, prompt, number, onOpen, onEdit, onAgain, planned, isPicking, isPicked, note }) {
  const status = result?.status ?? "processing";
  const words = result?.prompt_text ?? prompt;
  if (status === "failed" && result) {
    const why = sentenceOf(result.error_code);
    return html`<div class="tile failed"><div class="picture-box"><button class="picture" aria-label=${`Image ${number}, failed: ${why} ${words}`} onClick=${onOpen}></button>
      <p>${why}</p>
      ${planned ? html`<p class="planned">${planned}</p>` : html`<div class="row">
        ${onEdit && html`<button class=${isAboutPrompt(result.error_code) ? "button small primary" : "button small"} onClick=${onEdit}>Edit prompt</button>`}
        ${onAgain && result.retryable && html`<button class="button small" onClick=${onAgain}>Try again</button>`}</div>`}
      </div><p class="words">${words}</p></div>`;
  }
  const source = result ? addressOf(result, "thumbnail") : "";
  return html`<div class=${`tile ${status}${isPicked ? " picked" : ""}`}>
    <button class="picture" aria-label=${`Image ${number}${status === "processing" ? ", not painted yet" : ""}: ${words}`} onClick=${onOpen}
      aria-pressed=${isPicking ? Boolean(isPicked) : undefined} disabled=${isPicking && status !== "completed"}>
      ${source ? html`<${Picture} key=${source} source=${source} />` : html`<span class=${planned ? "shimmer" : "waiting"}></span>`}
      ${isPicking && status === "completed" && html`<span class="tick" aria-hidden="true">${isPicked ? "✓" : ""}</span>`}
    </button><p class="words">${words}</p>${note && html`<small class="quiet">${note}</small>`}</div>`;
}

/** Fades in when it arrives. What the browser still has is there at once. @param {{source: string}} props */
function Picture({ source }) {
  const [state, setState] = useState("arriving");
  const element = useRef(/** @type {HTMLImageElement | null} */ (null));
  useLayoutEffect(() => {
    if (element.current?.complete && element.current.naturalWidth) setState("here");
  }, []);
  if (state === "broken") return html`<span class="broken">The picture cannot be shown</span>`;
  return html`<img ref=${element} src=${source} alt="" class=${state} decoding="async" onLoad=${() => setState("here")} onError=${() => setState("broken")} />`;
}
