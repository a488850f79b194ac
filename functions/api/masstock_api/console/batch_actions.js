// What can be done with a batch, and with some of its pictures.
import { html, useState } from "./preact.js";
import { attempt, call, newKey } from "./api.js";
import { startOver } from "./draft.js";
import { edits } from "./edits.js";
import { many } from "./format.js";
import { Act, Dialog } from "./parts.js";
import { fetchImage, fileNameOf, isLive, promptAt, totalOf } from "./results.js";
import { go, say } from "./state.js";
import { addReferences } from "./uploads.js";
import { Zip } from "./zip.js";

/** @typedef {import("./types.js").Execution} Execution */
/** @typedef {import("./types.js").Result} Result */

/**
 * @param {object} props
 * @param {Execution} props.execution
 * @param {Result[]} props.failed
 * @param {(execution: Execution) => void} props.onChange
 * @param {(() => void) | null} props.onPick
 * @param {boolean} props.isPicking
 */
export function BatchActions({ execution, failed, onChange, onPick, isPicking }) {
  const [asks, setAsks] = useState("");
  const live = isLive(execution);
  const path = `/v1/executions/${execution.id}`;
  const planned = edits.of(execution.id);
  const retryable = failed.filter((row) => row.retryable).length;
  const retry = async (/** @type {object} */ body, /** @type {string} */ key) => {
    onChange(await call("POST", `${path}/retry`, { body, key }));
    attempt.forget(key);
    edits.forget(execution.id, planned);
  };
  const remove = async () => {
    await call("DELETE", path);
    say("The batch was deleted.");
    go("batches");
  };
  return html`<div class="row wrap actions">
    ${planned.length > 0 && html`<${Act} class="primary" disabled=${live} title=${live ? "As soon as this batch has ended" : ""} act=${async () => retry({ edits: planned }, await attempt.keyOf(path, planned))}>
      Paint ${many(planned.length, "prompt")} again<//>`}
    ${!live && !planned.length && retryable > 0 && html`<${Act} class="primary" act=${() => retry({ only_retryable: true }, newKey())}>Retry ${many(retryable, "failed image")}<//>`}
    ${execution.pace?.limited_by === "canary" && html`<${Act} class="primary" act=${async () => onChange(await call("POST", `${path}/resume`, { body: {}, key: newKey() }))}>Go on<//>`}
    ${live && html`<${Act} act=${async () => { setAsks("cancel"); }}>Cancel<//>`}
    ${!live && (execution.output_data?.successful ?? 0) > 0 && html`<${Zip} id=${execution.id} kind=${planned.length || retryable ? "" : "primary"} />`}
    ${onPick && html`<button class="button" aria-pressed=${isPicking} onClick=${onPick}>${isPicking ? "Stop selecting" : "Select"}</button>`}
    <details class="menu"><summary class="button" aria-label="More">⋯</summary><div>
      <button onClick=${() => again(execution)}>Run again</button>
      <button onClick=${() => setAsks("code")}>As curl, Python, TypeScript</button>
      ${!live && html`<button class="bad" onClick=${() => setAsks("delete")}>Delete</button>`}</div></details>
    ${asks === "cancel" && html`<${Sure} title="Cancel this batch?" words="What is painted stays and is charged. The rest is not painted." verb="Cancel the batch"
      act=${async () => { onChange(await call("POST", `${path}/cancel`, { body: {}, key: newKey() })); setAsks(""); }} onClose=${() => setAsks("")} />`}
    ${asks === "delete" && html`<${Sure} title="Delete this batch?" words="Its images are deleted for good." verb="Delete" act=${remove} onClose=${() => setAsks("")} />`}
    ${asks === "code" && html`<${Code} execution=${execution} onClose=${() => setAsks("")} />`}
  </div>`;
}

/** Loaded when it is asked for. @param {{execution: Execution, onClose: () => void}} props */
function Code({ execution, onClose }) {
  const [module, setModule] = useState(/** @type {any} */ (null));
  if (!module) import("./code.js").then(setModule, () => say("You are offline."));
  return html`<${Dialog} title="This batch as code" wide onClose=${onClose}>${module && html`<${module.default} execution=${execution} />`}<//>`;
}

/** @param {{title: string, words: string, verb: string, act: () => Promise<unknown>, onClose: () => void}} props */
export function Sure({ title, words, verb, act, onClose }) {
  return html`<${Dialog} title=${title} onClose=${onClose}><p>${words}</p>
    <p class="row end"><button class="button" onClick=${onClose}>Back</button><${Act} class="danger" act=${act}>${verb}<//></p><//>`;
}

/** Opens a new batch with the same prompts and settings. @param {Execution} execution */
export function again(execution) {
  const prompts = (execution.input_data?.prompts ?? []).map((one) => (typeof one === "string" ? one : one.prompt));
  startOver({
    text: prompts.join(prompts.some((prompt) => prompt.includes("\n")) ? "\n\n" : "\n"),
    workflow: execution.workflow_id,
    ratio: execution.input_data?.aspect_ratio ?? "",
    size: execution.input_data?.image_size ?? "",
    images: execution.images_per_prompt ?? 1,
    name: execution.name ?? "",
  });
  go("new");
}

/** @param {{execution: Execution, picked: Set<number>, rows: Map<number, Result>, onDone: () => void, onAll: () => void}} props */
export function Selection({ execution, picked, rows, onDone, onAll }) {
  const chosen = [...picked].sort((a, b) => a - b);
  const isAll = picked.size === totalOf(execution);
  const useAsReferences = async () => {
    const files = [];
    for (const index of chosen.slice(0, 3)) {
      const row = rows.get(index);
      if (row) files.push(new File([await fetchImage(row)], fileNameOf(row), { type: row.mime_type ?? "image/png" }));
    }
    startOver();
    addReferences(files, 3);
    go("new");
  };
  const paintAgain = () => {
    startOver({ text: chosen.map((index) => rows.get(index)?.prompt_text ?? promptAt(execution, index)).join("\n"), workflow: execution.workflow_id });
    go("new");
  };
  return html`<div class="selection" role="region" aria-label="Selection"><b>${picked.size} selected</b>
    ${!isAll && html`<button class="link" onClick=${onAll}>Select all</button>`}
    <span class="row wrap">
      <${Zip} id=${execution.id} indices=${chosen} kind="primary" disabled=${!picked.size} />
      <${Act} disabled=${!picked.size} act=${useAsReferences}>Use as reference<//>
      <button class="button" disabled=${!picked.size} onClick=${paintAgain}>More like these</button>
      <button class="button" onClick=${onDone}>Done</button></span></div>`;
}
