// How far a batch is, and why it is not faster.
import { html } from "./preact.js";
import { ago, clock, count, duration, many } from "./format.js";
import { isLive, promptAt, totalOf } from "./results.js";
import { sentenceOf } from "./outcomes.js";

/** @typedef {import("./types.js").Execution} Execution */

/** @param {Execution} execution */
export function titleOfBatch(execution) {
  return execution.name || promptAt(execution, 0).slice(0, 60) || execution.workflow_name || "Batch";
}

/** The parts of a batch; they add up to its total. @param {Execution} execution */
export function partsOf(execution) {
  const told = execution.progress ?? { ...(execution.output_data ?? { successful: 0, failed: 0 }), total: totalOf(execution), processing: 0 };
  const waiting = (told.waiting ?? 0) + (told.submitted ?? 0) + (told.paused ?? 0);
  return { total: told.total || totalOf(execution), done: told.successful, failed: told.failed, painting: Math.max(0, told.processing - waiting), waiting };
}

/** @param {{execution: Execution, children?: any}} props */
export function Progress({ execution, children }) {
  const { total, done, failed, painting, waiting } = partsOf(execution);
  const share = (/** @type {number} */ part) => ({ flexGrow: total ? part / total : 0 });
  const live = isLive(execution);
  return html`<section class="progress" aria-label="Progress">
    <div class=${live ? "meter live" : "meter"} role="progressbar" aria-valuemin="0" aria-valuemax=${total} aria-valuenow=${done + failed} aria-label="Finished images">
      ${done > 0 && html`<i class="done" style=${share(done)}></i>`}${failed > 0 && html`<i class="failed" style=${share(failed)}></i>`}
      ${painting > 0 && html`<i class="painting" style=${share(painting)}></i>`}${waiting > 0 && html`<i class="rest" style=${share(waiting)}></i>`}</div>
    <p class="counts"><span><b>${count(done)}</b> done</span>${failed > 0 && html`<span class="bad"><b>${count(failed)}</b> failed</span>`}
      ${live && html`<span><b>${count(painting)}</b> painting</span>`}${waiting > 0 && html`<span><b>${count(waiting)}</b> waiting</span>`}
      <span class="of">of ${many(total, "image")}</span>${children}</p>
    <p class="reason" role="status">${live ? reasonOf(execution) : endOf(execution)}</p>
  </section>`;
}

/** Why it takes the time that it takes. @param {Execution} execution */
export function reasonOf(execution) {
  const pace = execution.pace;
  const opens = pace?.opens_at ? ` The next try is at ${clock(pace.opens_at)}.` : "";
  const end = pace?.expected_end_at ? ` Done ${ago(pace.expected_end_at)}.` : "";
  const speed = pace?.images_per_minute ? ` Now ${many(Math.max(1, Math.round(pace.images_per_minute)), "image")} a minute.` : "";
  /** @type {Record<string, string>} */
  const reasons = {
    none: execution.status === "pending" ? "Starting." : "Painting.",
    concurrency: "Painting as many at once as this workflow allows.",
    provider_limit: "The provider limits how fast we may paint. Waiting costs nothing.",
    outage: "The provider is down. We go on by ourselves when it is back.",
    budget: "Waiting for budget.",
    economy_job: "The provider paints this at half price when it has time, within a day.",
    canary: "The first images are here. Look at them, then go on.",
  };
  return `${reasons[pace?.limited_by ?? "none"] ?? reasons.none}${opens}${speed}${end} You can close this tab.`;
}

/** One word for a batch. @param {Execution} execution */
export function stateOf(execution) {
  if (execution.error_code === "cancelled") return "cancelled";
  if (execution.pace?.limited_by === "canary") return "paused";
  if (execution.status === "pending") return "starting";
  if (execution.status === "processing") return execution.tier === "economy" ? "economy" : "painting";
  const failed = partsOf(execution).failed;
  return execution.status === "failed" ? "failed" : failed ? "done, some failed" : "done";
}

/** @param {{execution: Execution}} props */
export function State({ execution }) {
  const state = stateOf(execution);
  /** @type {Record<string, string>} */
  const kinds = { done: "good", failed: "bad", cancelled: "", painting: "live", economy: "live", starting: "live", paused: "wait" };
  return html`<span class=${`state ${kinds[state] ?? "wait"}`}>${state}</span>`;
}

/** The end of a batch in one line. @param {Execution} execution */
export function endOf(execution) {
  if (execution.status === "failed" && execution.error_code) return sentenceOf(execution.error_code);
  const took = execution.duration_seconds;
  return took ? `Painted in ${duration(took)}.` : "";
}
