// Administrators: lanes, the quotas of providers, with their pace.
import { html, useState } from "./preact.js";
import { all, call } from "./api.js";
import { ago, clock, count } from "./format.js";
import { Empty, Failure, Head, Loading, useLoaded } from "./parts.js";
import { FormDialog, Table } from "./table.js";

export default function Lanes() {
  const { data, error, again } = useLoaded(() => Promise.all([all("/v1/lanes"), all("/v1/clients")]), []);
  const [editing, setEditing] = useState(/** @type {any} */ (null));
  const [lanes, clients] = data ?? [null, []];
  const whose = (/** @type {any} */ lane) => clients.find((/** @type {any} */ one) => one.id === lane.client_id)?.name ?? "the platform's key";
  const save = async (/** @type {any} */ values) => {
    const body = { limit_per_minute: values.limit === "" ? null : Number(values.limit) };
    await call("PATCH", `/v1/lanes/${editing.id}`, { body });
    again();
  };
  return html`<${Head} title="Lanes"><p class="quiet">A lane is one quota of a provider: a model and an API key. It finds its pace by itself.</p><//>
    ${error && html`<${Failure} error=${error} again=${again} />`}
    ${!lanes && !error && html`<${Loading} />`}
    ${lanes?.length === 0 && html`<${Empty} title="No lanes yet"><p>The first batch makes one.</p><//>`}
    ${lanes && lanes.length > 0 && html`<${Table} label="Lanes" empty="" rows=${lanes} columns=${[
      { name: "Model", cell: (/** @type {any} */ one) => html`<b>${one.model}</b>` },
      { name: "Whose", cell: (/** @type {any} */ one) => whose(one) },
      { name: "State", cell: (/** @type {any} */ one) => stateOf(one) },
      { name: "Pace", cell: (/** @type {any} */ one) => (one.calls_per_minute === null ? "as fast as asked" : `${count(Math.round(one.calls_per_minute))} a minute`), isNumber: true },
      { name: "Limit", cell: (/** @type {any} */ one) => (one.limit_per_minute === null ? "automatic" : `${count(one.limit_per_minute)} a minute`), isNumber: true },
      { name: "Waiting", cell: (/** @type {any} */ one) => count(one.waiting_executions), isNumber: true },
      { name: "Last image", cell: (/** @type {any} */ one) => (one.last_success_at ? ago(one.last_success_at) : "–") },
      { name: "", cell: (/** @type {any} */ one) => html`<button class="button small" aria-label=${`Set limit of ${one.model}`} onClick=${() => setEditing(one)}>Set limit</button>` },
    ]} />`}
    ${editing && html`<${FormDialog} title="Limit of this lane" verb="Save" save=${save} onClose=${() => setEditing(null)} values=${{ limit: editing.limit_per_minute ?? "" }}
      fields=${[{ name: "limit", label: "Calls a minute", type: "number", least: 1, optional: true, hint: "Leave it empty, and the lane finds its limit by itself." }]}><p class="quiet">${editing.model}, ${whose(editing)}</p><//>`}`;
}

/** @param {any} lane */
function stateOf(lane) {
  if (lane.opens_at) return html`<span class="state bad">closed until ${clock(lane.opens_at)}</span>`;
  if (lane.limited_by === "outage") return html`<span class="state bad">outage</span>`;
  return lane.limited_by === "provider_limit" ? html`<span class="state wait">paced</span>` : html`<span class="state good">open</span>`;
}
