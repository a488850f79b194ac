// One batch: its pictures, as they arrive, and what can be done with them.
import { html, useEffect, useMemo, useState } from "./preact.js";
import { BatchActions, Selection } from "./batch_actions.js";
import { EditPrompt, edits, planOf } from "./edits.js";
import { Grid, shapeOf } from "./grid.js";
import { ago, money } from "./format.js";
import { all, sleep } from "./api.js";
import { Empty, Failure, Head, Loading } from "./parts.js";
import { Progress, State, partsOf, titleOfBatch } from "./progress.js";
import { isLive, promptAt, totalOf, useExecution, useResults } from "./results.js";
import { useStore } from "./state.js";
import { Tile } from "./tile.js";
import { Viewer } from "./viewer.js";

/** @typedef {import("./types.js").Execution} Execution */
/** @typedef {import("./types.js").Result} Result */

const MOST_FAILED = 2000;
const BACK = { href: "#/batches", text: "Batches" };

/** @param {{id: string, profile: import("./main.js").Profile}} props */
export default function Batch({ id, profile }) {
  const { execution, error, again, set } = useExecution(id);
  if (error) {
    return html`<${Head} title="Batch" back=${BACK} />${
      error.status === 404 || error.status === 422
        ? html`<${Empty} title="There is no such batch"><p>It was deleted, or it belongs to somebody else.</p><p><a class="button" href="#/batches">Your batches</a></p><//>`
        : html`<${Failure} error=${error} again=${again} />`
    }`;
  }
  if (!execution) return html`<${Head} title="Batch" back=${BACK} /><${Loading} tall />`;
  return html`<${Pictures} execution=${execution} onChange=${set} profile=${profile} />`;
}

/** @param {{execution: Execution, onChange: (execution: Execution) => void, profile: any}} props */
function Pictures({ execution, onChange, profile }) {
  const [range, setRange] = useState({ from: 0, to: 0 });
  const [shown, setShown] = useState("all");
  const [open, setOpen] = useState(-1);
  const [editing, setEditing] = useState(/** @type {Result | null} */ (null));
  const [picked, setPicked] = useState(/** @type {Set<number> | null} */ (null));
  const failed = useFailed(execution);
  const isFiltered = shown === "failed" && partsOf(execution).failed > 0;
  const indices = useMemo(() => (isFiltered ? failed.map((row) => row.batch_index) : null), [isFiltered, failed]);
  const visible = indices ? { from: 0, to: 0 } : open >= 0 ? { from: open, to: open } : range;
  const rows = useResults(execution, visible);
  useStore(edits);
  const total = totalOf(execution);
  const live = isLive(execution);
  const parts = partsOf(execution);
  const price = execution.cost_microusd ?? execution.estimate_microusd;
  // What is open is a picture, whose position changes with the list.
  const position = indices ? indices.indexOf(open) : open;
  const at = (/** @type {number} */ position) => (indices ? indices[position] ?? 0 : position);
  const resultAt = (/** @type {number} */ index) => {
    const failure = () => failed.find((row) => row.batch_index === index);
    // Among the failed ones, the pages of all pictures are not read again.
    return indices ? failure() ?? rows.get(index) : rows.get(index) ?? failure();
  };
  const pick = (/** @type {number} */ index) => {
    const next = new Set(picked);
    if (!next.delete(index)) next.add(index);
    setPicked(next);
  };
  const tile = (/** @type {number} */ position) => {
    const index = at(position);
    const result = resultAt(index);
    return html`<${Tile} result=${result} prompt=${promptAt(execution, index)} number=${index + 1}
      planned=${planOf(execution.id, index)} isPicking=${picked !== null} isPicked=${picked?.has(index)}
      onOpen=${() => (picked ? pick(index) : setOpen(index))} onEdit=${() => result && setEditing(result)}
      onAgain=${() => edits.add(execution.id, index, null)} />`;
  };
  return html`
    <${Head} title=${titleOfBatch(execution)} back=${BACK} aside=${html`<${BatchActions} execution=${execution} failed=${failed}
        onChange=${onChange} onPick=${parts.done ? () => setPicked(picked ? null : new Set()) : null} isPicking=${picked !== null} />`}>
      <p class="facts"><${State} execution=${execution} /> <span>${execution.workflow_name}</span>
        ${profile.role === "admin" && html`<span>${execution.client_name}</span>`}
        <span>${ago(execution.created_at)}</span>${price !== null && html`<span>${money(price)}${execution.cost_microusd === null ? " expected" : ""}</span>`}</p>
    <//>
    <${Progress} execution=${execution}>${parts.failed > 0 && html`<button class="button small" aria-pressed=${shown === "failed"}
      onClick=${() => setShown(shown === "failed" ? "all" : "failed")}>Only failed</button>`}<//>
    <${Grid} key=${shown} total=${indices ? indices.length : total} ratio=${shapeOf(execution.input_data?.aspect_ratio)}
      label="Images" tile=${tile} onRange=${setRange} />
    ${picked && html`<${Selection} execution=${execution} picked=${picked} rows=${rows} onDone=${() => setPicked(null)}
      onAll=${() => setPicked(new Set(Array.from({ length: total }, (_, index) => index).filter((index) => (resultAt(index)?.status ?? "completed") === "completed")))} />`}
    ${position >= 0 && html`<${Viewer} position=${position} total=${indices ? indices.length : total} resultOf=${(/** @type {number} */ position) => resultAt(at(position))}
      promptOf=${(/** @type {number} */ position) => promptAt(execution, at(position))} onMove=${(/** @type {number} */ position) => setOpen(at(position))}
      onClose=${() => setOpen(-1)} onEdit=${(/** @type {Result} */ result) => { setOpen(-1); setEditing(result); }}
      onAgain=${(/** @type {Result} */ result) => { setOpen(-1); edits.add(execution.id, result.batch_index, null); }} settings=${execution.input_data} />`}
    ${editing && html`<${EditPrompt} result=${editing} isLive=${live} onClose=${() => setEditing(null)} />`}`;
}

/** The failed results, for their own tab and for what a retry can reach. @param {Execution} execution */
function useFailed(execution) {
  const [failed, setFailed] = useState(/** @type {Result[]} */ ([]));
  const number = partsOf(execution).failed;
  useEffect(() => {
    if (!number) {
      setFailed([]);
      return undefined;
    }
    const stop = new AbortController();
    (async () => {
      for (let pause = isLive(execution) ? 1.5 : 0; ; pause = 5) {
        await sleep(pause, stop.signal);
        if (stop.signal.aborted) return;
        try {
          const rows = await all(`/v1/executions/${execution.id}/results`, { status: "failed" }, MOST_FAILED);
          if (!stop.signal.aborted) setFailed(rows);
          return;
        } catch {
          // Asked again.
        }
      }
    })();
    return () => stop.abort();
  }, [execution.id, execution.status, number]);
  return failed;
}
