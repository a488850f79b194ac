// What was painted and paid, by month, and what is left of the budget.
import { html, useState } from "./preact.js";
import { call } from "./api.js";
import { Columns } from "./charts.js";
import { count, many, money, monthName } from "./format.js";
import { Empty, Failure, Head, Loading, useLoaded } from "./parts.js";
import { Table } from "./table.js";

const MONTHS = 12;

export default function Usage() {
  const { data, error, again } = useLoaded(() => call("GET", "/v1/usage"), []);
  return html`<${Head} title="Usage" />
    ${error && html`<${Failure} error=${error} again=${again} />`}
    ${!data && !error && html`<${Loading} tall />`}
    ${data && html`<${Report} usage=${data} />`}`;
}

/** @param {{usage: any}} props */
function Report({ usage }) {
  const months = [...new Set(usage.items.map((/** @type {any} */ one) => one.month))].sort().slice(-MONTHS);
  const [chosen, setChosen] = useState(usage.month);
  const of = (/** @type {unknown} */ month) => usage.items.filter((/** @type {any} */ one) => one.month === month);
  const sum = (/** @type {any[]} */ items, /** @type {string} */ name) => items.reduce((total, one) => total + one[name], 0);
  const limit = usage.monthly_budget_microusd;
  const images = sum(of(usage.month), "images");
  return html`<div class="cards">
      <div class="card figure"><small>This month</small><b>${money(usage.spent_microusd)}</b><span>${many(images, "image")}</span></div>
      <div class="card figure"><small>Left of the budget</small><b>${limit === null ? "No limit" : money(usage.budget_left_microusd)}</b>
        <span>${limit === null ? "Your client has no monthly budget." : `of ${money(limit)} a month`}</span>
        ${limit !== null && html`<div class="meter" role="img" aria-label="Used share of the budget"><i class="done" style=${{ flexGrow: limit ? Math.min(1, usage.spent_microusd / limit) : 1 }}></i>
          <i class="painting" style=${{ flexGrow: limit ? Math.min(1, usage.reserved_microusd / limit) : 0 }}></i>
          <i style=${{ flexGrow: limit ? Math.max(0, usage.budget_left_microusd / limit) : 0 }}></i></div>`}</div>
      <div class="card figure"><small>Reserved</small><b>${money(usage.reserved_microusd)}</b><span>for batches that are running</span></div>
    </div>
    ${!usage.items.length && html`<${Empty} title="Nothing was painted yet"><p>Costs appear here with the first picture.</p><//>`}
    ${usage.items.length > 0 && html`<section class="card"><h2>By month</h2>
      <${Columns} label="Cost by month" bars=${months.map((month) => ({ name: monthName(String(month)), value: sum(of(month), "cost_microusd"), text: money(sum(of(month), "cost_microusd")) }))} /></section>
    <section><div class="head-row"><h2>Details</h2>
      <select class="narrow" aria-label="Month" value=${chosen} onChange=${(/** @type {any} */ event) => setChosen(event.target.value)}>
        ${[...new Set([usage.month, ...months])].sort().reverse().map((month) => html`<option key=${month} value=${month}>${monthName(String(month))}</option>`)}</select></div>
      <${Table} label="Usage of the month" empty="Nothing was painted in this month." rows=${of(chosen)} columns=${[
        { name: "Workflow", cell: (/** @type {any} */ one) => one.workflow_name ?? "–" },
        { name: "Model", cell: (/** @type {any} */ one) => one.model ?? "–" },
        { name: "When", cell: (/** @type {any} */ one) => (one.tier === "economy" ? "within a day" : "now") },
        { name: "Images", cell: (/** @type {any} */ one) => count(one.images), isNumber: true },
        { name: "Cost", cell: (/** @type {any} */ one) => money(one.cost_microusd), isNumber: true },
      ]} /></section>`}`;
}
