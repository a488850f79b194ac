// Batches, newest first.
import { html, useEffect, useRef, useState } from "./preact.js";
import { call } from "./api.js";
import { again } from "./batch_actions.js";
import { ago, count, money } from "./format.js";
import { Act, Empty, Failure, Head, Loading } from "./parts.js";
import { State, partsOf, titleOfBatch } from "./progress.js";
import { isLive } from "./results.js";

/** @typedef {import("./types.js").Execution} Execution */

const LOOK_SECONDS = 4;

/** @param {{profile: import("./main.js").Profile}} props */
export default function Batches({ profile }) {
  const [rows, setRows] = useState(/** @type {Execution[] | null} */ (null));
  const [cursor, setCursor] = useState(/** @type {string | null} */ (null));
  const [error, setError] = useState(/** @type {any} */ (null));
  const [search, setSearch] = useState("");
  const read = async () => {
    try {
      const page = await call("GET", "/v1/executions", { query: { limit: 60 } });
      setRows((last) => merged(page.items, last ?? []));
      if (!isMore.current) setCursor(page.next_cursor);
      setError(null);
    } catch (problem) {
      setError(problem);
    }
  };
  const isMore = useRef(false);
  const more = async () => {
    const page = await call("GET", "/v1/executions", { query: { limit: 60, cursor } });
    isMore.current = true;
    setRows((last) => merged(last ?? [], page.items));
    setCursor(page.next_cursor);
  };
  const isWatching = rows?.some(isLive) ?? false;
  useEffect(() => {
    read();
  }, []);
  useEffect(() => {
    if (!isWatching) return undefined;
    const timer = setInterval(() => !document.hidden && read(), LOOK_SECONDS * 1000);
    return () => clearInterval(timer);
  }, [isWatching]);
  const words = search.trim().toLowerCase();
  const shown = rows?.filter((row) => !words || `${titleOfBatch(row)} ${row.workflow_name} ${row.client_name} ${row.user_name}`.toLowerCase().includes(words));
  const isAdmin = profile.role === "admin";
  return html`<${Head} title="Batches" aside=${rows && rows.length > 3 && html`<input type="search" class="search" placeholder="Search" aria-label="Search batches"
      value=${search} onInput=${(/** @type {any} */ event) => setSearch(event.target.value)} />`} />
    ${error && html`<${Failure} error=${error} again=${read} />`}
    ${!rows && !error && html`<${Loading} tall />`}
    ${rows && !rows.length && html`<${Empty} title="No batches yet">${isAdmin ? html`<p>Clients' batches appear here.</p>` : html`<p>Paste some prompts and watch the pictures arrive.</p><p><a class="button primary" href="#/new">New batch</a></p>`}<//>`}
    ${shown && rows && rows.length > 0 && !shown.length && html`<p class="quiet">No batch has these words in its name.</p>`}
    <ul class="batches">${shown?.map((row) => html`<${Row} key=${row.id} row=${row} isAdmin=${isAdmin} />`)}</ul>
    ${cursor && html`<p class="center"><${Act} act=${more}>Older batches<//></p>`}`;
}

/** @param {Execution[]} first @param {Execution[]} then @returns {Execution[]} */
function merged(first, then) {
  const known = new Set(first.map((row) => row.id));
  return [...first, ...then.filter((row) => !known.has(row.id))];
}

/** @param {{row: Execution, isAdmin: boolean}} props */
function Row({ row, isAdmin }) {
  const parts = partsOf(row);
  const price = row.cost_microusd ?? row.estimate_microusd;
  const runAgain = async () => again(await call("GET", `/v1/executions/${row.id}`));
  return html`<li class="batch"><a href=${`#/batches/${row.id}`}>
      <span class="cover">${row.cover_url && html`<img src=${row.cover_url} alt="" loading="lazy" />`}</span>
      <span class="about"><b>${titleOfBatch(row)}</b>
        <small>${[isAdmin && row.client_name, row.user_name, row.workflow_name !== titleOfBatch(row) && row.workflow_name].filter(Boolean).join(" · ")}</small>
        <small>${count(parts.done)} of ${count(parts.total)} images${parts.failed ? `, ${count(parts.failed)} failed` : ""}${price === null ? "" : ` · ${money(price)}`} · ${ago(row.created_at)}</small></span>
      <${State} execution=${row} /></a>
    ${!isAdmin && html`<${Act} class="small" act=${runAgain}>Run again<//>`}</li>`;
}
