// Administrators: the clients and their budgets.
import { html, useState } from "./preact.js";
import { all, call } from "./api.js";
import { day, money } from "./format.js";
import { Empty, Failure, Head, Loading, useLoaded } from "./parts.js";
import { FormDialog, Table } from "./table.js";

/** @type {import("./table.js").FormField[]} */
const FIELDS = [
  { name: "name", label: "Name" },
  { name: "email", label: "E-mail", type: "email" },
  { name: "budget", label: "Monthly budget in US dollars", type: "number", step: 0.01, least: 0, optional: true, hint: "Empty for no limit." },
  { name: "webhook_url", label: "Webhook", type: "url", pattern: "https?://.+", form: "An address that begins with https://", optional: true, hint: "Gets a message when a batch ends." },
];
/** @type {import("./table.js").FormField} */
const STATUS = { name: "status", label: "Status", type: "select", options: [
  { value: "active", text: "Active" }, { value: "suspended", text: "Suspended: may read nothing and paint nothing" }] };

export default function Clients() {
  const { data, error, again } = useLoaded(() => all("/v1/clients"), []);
  const [editing, setEditing] = useState(/** @type {any} */ (null));
  const save = async (/** @type {any} */ values, /** @type {string} */ key) => {
    const body = {
      name: values.name,
      email: values.email,
      monthly_budget_microusd: values.budget === "" || values.budget === null ? null : Math.round(Number(values.budget) * 1e6),
      webhook_url: values.webhook_url || null,
      ...(editing.id && { status: values.status }),
    };
    if (editing.id) await call("PATCH", `/v1/clients/${editing.id}`, { body });
    else await call("POST", "/v1/clients", { body, key });
    again();
  };
  const clients = data?.filter((/** @type {any} */ one) => one.status !== "deleted");
  return html`<${Head} title="Clients" aside=${html`<button class="button primary" onClick=${() => setEditing({})}>New client</button>`} />
    ${error && html`<${Failure} error=${error} again=${again} />`}
    ${!data && !error && html`<${Loading} />`}
    ${clients?.length === 0 && html`<${Empty} title="No clients yet"><p>A client is a company that paints. Its users share its budget.</p><//>`}
    ${clients && clients.length > 0 && html`<${Table} label="Clients" empty="" rows=${clients} columns=${[
      { name: "Name", cell: (/** @type {any} */ one) => html`<b>${one.name}</b>` },
      { name: "E-mail", cell: (/** @type {any} */ one) => one.email },
      { name: "Budget a month", cell: (/** @type {any} */ one) => (one.monthly_budget_microusd === null ? "No limit" : money(one.monthly_budget_microusd)), isNumber: true },
      { name: "Since", cell: (/** @type {any} */ one) => day(one.created_at) },
      { name: "Status", cell: (/** @type {any} */ one) => html`<span class=${`state ${one.status === "active" ? "good" : "bad"}`}>${one.status}</span>` },
      { name: "", cell: (/** @type {any} */ one) => html`<button class="button small" aria-label=${`Change ${one.name}`} onClick=${() => setEditing(one)}>Change</button>` },
    ]} />`}
    ${editing && html`<${FormDialog} title=${editing.id ? editing.name : "New client"} verb=${editing.id ? "Save" : "Add client"} save=${save} onClose=${() => setEditing(null)}
      fields=${editing.id ? [...FIELDS, STATUS] : FIELDS}
      values=${{ ...editing, budget: (editing.monthly_budget_microusd ?? null) === null ? "" : editing.monthly_budget_microusd / 1e6 }} />`}`;
}
