// New batch: prompts, references, settings, and a button that says what it does.
import { html, useEffect, useState } from "./preact.js";
import { all, attempt, call } from "./api.js";
import { change, draft, promptFile, references, startOver } from "./draft.js";
import { many, money } from "./format.js";
import { Chips, Empty, Failure, Field, Head, Loading, problemOf, useIsHere, useLoaded } from "./parts.js";
import { FilePreview, PromptBox } from "./prompt_box.js";
import { References } from "./references.js";
import { apiKey, practiceMode } from "./session.js";
import { go, say, useStore } from "./state.js";
import { bodyOf, countOf, usePrice } from "./submission.js";

export default function NewBatch() {
  const { data, error, again } = useLoaded(
    () => Promise.all([all("/v1/workflows", { status: "active" }), call("GET", "/v1/models")]),
    [],
  );
  if (error && !data) return html`<${Head} title="New batch" /><${Failure} error=${error} again=${again} />`;
  if (!data) return html`<${Head} title="New batch" /><${Loading} tall />`;
  const [workflows, models] = data;
  if (!workflows.length) {
    return html`<${Head} title="New batch" /><${Empty} title="Nothing to paint with yet"><p>An administrator must set up a workflow first.</p><//>`;
  }
  return html`<${Form} workflows=${workflows} models=${models.items} />`;
}

/** @param {{workflows: any[], models: any[]}} props */
function Form({ workflows, models }) {
  const now = useStore(draft);
  const file = useStore(promptFile);
  const pictures = useStore(references);
  const workflow = workflows.find(({ id }) => id === now.workflow) ?? workflows[0];
  useEffect(() => {
    if (now.workflow !== workflow.id) change({ workflow: workflow.id });
  }, [workflow.id, now.workflow]);
  const model = models.find((/** @type {any} */ one) => one.model === workflow.config.model);
  const allowsReferences = workflow.config.supports_reference_images && (model?.max_reference_images ?? 3) > 0;
  const used = allowsReferences ? pictures : [];
  const keys = used.filter((one) => one.key).map((one) => one.key);
  const isUploading = used.some((one) => !one.key && !one.error);
  const counted = countOf(now, file);
  const isReady = counted.prompts > 0 && !counted.unknown.length && !counted.needsTemplate && now.workflow === workflow.id;
  const price = usePrice(now, file, keys, isReady);
  return html`<${Head} title="New batch" />
    <form class="new" onSubmit=${(/** @type {Event} */ event) => event.preventDefault()}>
      <div class="new-main">
        <${PromptBox} counted=${counted} most=${workflow.config.max_prompts ?? 100} />
        ${file && html`<${FilePreview} file=${file} />`}
        ${allowsReferences && html`<${References} pictures=${pictures} most=${model?.max_reference_images ?? 3} />`}
        <div class="batch-name"><${Field} label="Name" optional><input value=${now.name} maxlength="200" placeholder="Summer campaign"
          onInput=${(/** @type {any} */ event) => change({ name: event.target.value })} /><//></div>
      </div>
      <aside class="new-side" aria-label="Settings">
        <${Settings} now=${now} workflows=${workflows} workflow=${workflow} model=${model} price=${price} />
        <${Paint} now=${now} file=${file} keys=${keys} workflow=${workflow} price=${price} counted=${counted}
          isReady=${isReady && !isUploading} isUploading=${isUploading} />
      </aside>
    </form>`;
}

/** @param {{now: import("./draft.js").Draft, workflows: any[], workflow: any, model: any, price: any}} props */
function Settings({ now, workflows, workflow, model, price }) {
  const ratios = ["", ...(model?.aspect_ratios ?? [])];
  const sizes = model?.sizes ?? [];
  const usual = now.size || workflow.config.image_size || "1K";
  const estimates = price.estimate?.estimates;
  return html`
    ${workflows.length > 1 && html`<${Field} label="Workflow"><select value=${workflow.id}
      onChange=${(/** @type {any} */ event) => change({ workflow: event.target.value, ratio: "", size: "", tier: "standard" })}>
      ${workflows.map((one) => html`<option key=${one.id} value=${one.id}>${one.name}</option>`)}</select><//>`}
    ${ratios.length > 1 && html`<${Chips} label="Shape" name="ratio" value=${now.ratio} onChange=${(/** @type {string} */ ratio) => change({ ratio })}
      options=${ratios.map((ratio) => ({ value: ratio, text: ratio || "Auto", ratio }))} />`}
    ${sizes.length > 1 && html`<${Chips} label="Size" name="size" value=${usual} onChange=${(/** @type {string} */ size) => change({ size })}
      options=${sizes.map((/** @type {any} */ one) => ({ value: one.size, text: one.size === "512" ? "0.5K" : one.size, note: money(one.microusd) }))} />`}
    <${Chips} label="Images per prompt" name="images" value=${now.images} onChange=${(/** @type {number} */ images) => change({ images })}
      options=${[1, 2, 3, 4, 6, 8].map((value) => ({ value, text: String(value) }))} />
    ${sizes.some((/** @type {any} */ one) => one.economy_microusd !== null) && html`<${Chips} label="When" name="tier" value=${now.tier}
      onChange=${(/** @type {"standard" | "economy"} */ tier) => change({ tier })}
      options=${[
        { value: "standard", text: "Now", note: estimates ? money(estimates.standard) : "in minutes" },
        { value: "economy", text: "Within a day", note: estimates?.economy ? `${money(estimates.economy)}, half price` : "half price" },
      ]} />`}`;
}

/** @param {any} props */
function Paint({ now, file, keys, workflow, price, counted, isReady, isUploading }) {
  const [typed, setTyped] = useState("");
  const [isKept, setKept] = useState(Boolean(apiKey.get()));
  const [isSending, setSending] = useState(false);
  const [problem, setProblem] = useState(/** @type {any} */ (null));
  const isHere = useIsHere();
  // A refusal is about what was sent.
  useEffect(() => setProblem(null), [now, file, keys.join(), typed]);
  const needsKey = workflow.config.requires_api_key;
  // While a price is asked for, the last one is of another draft.
  const estimate = price.isAsking ? null : price.estimate;
  const images = estimate?.images ?? counted.prompts * now.images;
  const cost = now.tier === "economy" ? estimate?.estimates?.economy : estimate?.estimate_microusd;
  const send = async () => {
    setSending(true);
    setProblem(null);
    try {
      if (typed) apiKey.set(typed);
      const body = { ...(await bodyOf(now, file, keys)), ...(needsKey && { api_key: apiKey.get() }) };
      const key = await attempt.keyOf("/v1/executions", body);
      const made = await call("POST", "/v1/executions", { body, key });
      attempt.forget(key);
      // The next batch may have been begun, or another page opened.
      if (draft.get() === now && promptFile.get() === file) startOver();
      if (isHere.current) go(`batches/${made.id}`);
      else say("Your batch was sent.");
    } catch (error) {
      const refusal = /** @type {any} */ (error);
      if (refusal.errors?.some((/** @type {{pointer: string}} */ one) => one.pointer === "/api_key")) setKept(false);
      if (!isHere.current) say(problemOf(refusal));
      setProblem(refusal);
      setSending(false);
    }
  };
  const hasKey = !needsKey || isKept || typed.trim().length >= 8;
  const refusal = problem ?? price.problem;
  const left = price.estimate?.budget_left_microusd;
  return html`<div class="paint">
    ${needsKey && (isKept
      ? html`<p class="kept">Your API key is kept in this tab. <button class="link" onClick=${() => setKept(false)}>Change</button></p>`
      : html`<${Field} label="API key of the image model" hint=${practiceMode.get() ? "Practice mode: type any eight characters. The pictures are samples, and nothing is charged." : "Encrypted, never shown again. Asked once in this tab."}>
          <input type="password" autocomplete="off" spellcheck=${false} value=${typed} name="api-key"
            placeholder="AIza…" onInput=${(/** @type {any} */ event) => setTyped(event.target.value.trim())} /><//>`)}
    <button class="button primary big" disabled=${!isReady || !hasKey || isSending || Boolean(price.problem)} aria-busy=${isSending}
      onClick=${send}>${isSending ? "Sending…" : labelOf(images, cost, counted.prompts)}</button>
    <p class=${refusal ? "why bad" : "why"} role="status">${
      refusal ? problemOf(refusal)
      : isUploading ? "The reference images are still uploading."
      : !counted.prompts ? "Write or paste prompts to begin."
      : !hasKey ? "Enter the API key to paint."
      : left !== null && left !== undefined ? `${money(left)} is left of this month's budget.`
      : "You can close the tab while it paints."
    }</p>
  </div>`;
}

/**
 * @param {number} images
 * @param {number | null | undefined} cost
 * @param {number} prompts
 */
function labelOf(images, cost, prompts) {
  if (!prompts) return "Paint";
  return cost === null || cost === undefined ? `Paint ${many(images, "image")}` : `Paint ${many(images, "image")} · about ${money(cost)}`;
}

