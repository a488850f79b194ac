// Administrators: what clients and workflows did.
import { html, useState } from "./preact.js";
import { call } from "./api.js";
import { Bars } from "./charts.js";
import { count, duration } from "./format.js";
import { Empty, Failure, Head, Loading, useLoaded } from "./parts.js";
import { Table } from "./table.js";

const PERIODS = [{ days: 0, text: "All time" }, { days: 30, text: "30 days" }, { days: 7, text: "7 days" }];

export default function Reports() {
  const [days, setDays] = useState(0);
  const query = days ? { from: new Date(Date.now() - days * 86400_000).toISOString() } : {};
  const { data, error, again } = useLoaded(
    () => Promise.all([call("GET", "/v1/analytics/clients", { query }), call("GET", "/v1/analytics/workflows", { query })]),
    [days],
  );
  const isEmpty = data && !data[0].items.length && !data[1].items.length;
  return html`<${Head} title="Reports" aside=${html`<div class="tabs" role="group" aria-label="Period">${PERIODS.map((one) => html`<button key=${one.days} aria-pressed=${one.days === days}
      onClick=${() => setDays(one.days)}>${one.text}</button>`)}</div>`} />
    ${error && html`<${Failure} error=${error} again=${again} />`}
    ${!data && !error && html`<${Loading} tall />`}
    ${isEmpty && html`<${Empty} title="No batches in this time"><p>What clients and workflows did appears here.</p><//>`}
    ${data && !isEmpty && html`<div class="reports">
      <section class="card"><h2>Clients</h2><p class="quiet">Batches; the darker part has images.</p>
        <${Bars} label="Batches by client" bars=${data[0].items.map((/** @type {any} */ one) => ({ name: one.client_name, value: one.total_executions, part: one.successful, text: count(one.total_executions) }))} />
        <${Table} label="Clients" empty="No batches in this time." rows=${data[0].items} columns=${[
          { name: "Client", cell: (/** @type {any} */ one) => one.client_name },
          { name: "Batches", cell: (/** @type {any} */ one) => count(one.total_executions), isNumber: true },
          { name: "Done", cell: (/** @type {any} */ one) => count(one.successful), isNumber: true },
          { name: "Failed", cell: (/** @type {any} */ one) => count(one.failed), isNumber: true },
          { name: "Success", cell: (/** @type {any} */ one) => `${Math.round(one.success_rate_percent)} %`, isNumber: true },
        ]} /></section>
      <section class="card"><h2>Workflows</h2><p class="quiet">Batches; the darker part has images.</p>
        <${Bars} label="Batches by workflow" bars=${data[1].items.map((/** @type {any} */ one) => ({ name: one.workflow_name, value: one.execution_count, part: one.successful_count, text: count(one.execution_count) }))} />
        <${Table} label="Workflows" empty="No batches in this time." rows=${data[1].items} columns=${[
          { name: "Workflow", cell: (/** @type {any} */ one) => one.workflow_name },
          { name: "Batches", cell: (/** @type {any} */ one) => count(one.execution_count), isNumber: true },
          { name: "Done", cell: (/** @type {any} */ one) => count(one.successful_count), isNumber: true },
          { name: "On average", cell: (/** @type {any} */ one) => (one.avg_duration_seconds === null ? "–" : duration(one.avg_duration_seconds)), isNumber: true },
        ]} /></section></div>`}`;
}
