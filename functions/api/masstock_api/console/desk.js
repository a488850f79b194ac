// Administrators: requests to approve, and tickets to answer.
import { html } from "./preact.js";
import { all, call } from "./api.js";
import { ago } from "./format.js";
import { Act, Empty, Failure, Head, Loading, useLoaded } from "./parts.js";

export function Requests() {
  const { data, error, again } = useLoaded(() => Promise.all([all("/v1/workflow-requests"), all("/v1/clients"), all("/v1/workflows")]), []);
  const [requests, clients, workflows] = data ?? [null, [], []];
  const decide = async (/** @type {any} */ one, /** @type {string} */ status) => {
    await call("PATCH", `/v1/workflow-requests/${one.id}`, { body: { status } });
    again();
  };
  return html`<${Head} title="Requests" />${error && html`<${Failure} error=${error} again=${again} />`}
    ${!requests && !error && html`<${Loading} />`}
    ${requests?.length === 0 && html`<${Empty} title="No requests"><p>Clients' requests for workflows appear here.</p><//>`}
    <ul class="desk">${sorted(requests, "pending").map((one) => html`<li key=${one.id} class="card">
      <div><b>${nameIn(clients, one.client_id)}</b> asks for <b>${nameIn(workflows, one.workflow_id)}</b><small>${ago(one.created_at)}</small></div>
      ${one.notes && html`<p>${one.notes}</p>`}
      ${one.status === "pending"
        ? html`<div class="row"><${Act} class="primary small" act=${() => decide(one, "approved")}>Approve<//><${Act} class="small" act=${() => decide(one, "rejected")}>Reject<//></div>`
        : html`<span class=${`state ${one.status === "approved" ? "good" : "bad"}`}>${one.status}</span>`}</li>`)}</ul>`;
}

/** @type {Record<string, string[]>} */
const NEXT = { open: ["in_progress", "resolved"], in_progress: ["resolved", "closed"], resolved: ["closed", "open"], closed: ["open"] };
/** @type {Record<string, string>} */
const VERBS = { in_progress: "Take it", resolved: "Resolved", closed: "Close", open: "Open again" };

export function Tickets() {
  const { data, error, again } = useLoaded(() => Promise.all([all("/v1/support-tickets"), all("/v1/clients"), all("/v1/users")]), []);
  const [tickets, clients, users] = data ?? [null, [], []];
  const move = async (/** @type {any} */ one, /** @type {string} */ status) => {
    await call("PATCH", `/v1/support-tickets/${one.id}`, { body: { status } });
    again();
  };
  const mail = (/** @type {any} */ one) => users.find((/** @type {any} */ user) => user.id === one.user_id)?.email;
  return html`<${Head} title="Tickets" />${error && html`<${Failure} error=${error} again=${again} />`}
    ${!tickets && !error && html`<${Loading} />`}
    ${tickets?.length === 0 && html`<${Empty} title="No tickets"><p>Nobody needs help.</p><//>`}
    <ul class="desk">${sorted(tickets, "open").map((one) => html`<li key=${one.id} class="card">
      <div class="head-row"><h2>${one.subject}</h2><span class="row"><span class=${`state ${one.priority === "urgent" || one.priority === "high" ? "bad" : ""}`}>${one.priority}</span>
        <span class=${`state ${one.status === "open" ? "live" : one.status === "in_progress" ? "wait" : "good"}`}>${one.status.replace("_", " ")}</span></span></div>
      <small class="quiet">${nameIn(users, one.user_id)}, ${nameIn(clients, one.client_id)}, ${ago(one.created_at)}</small>
      <p>${one.description}</p>
      <div class="row wrap">${mail(one) && html`<a class="button small primary" href=${`mailto:${mail(one)}?subject=${encodeURIComponent(`Re: ${one.subject}`)}`}>Answer by e-mail</a>`}
        ${(NEXT[one.status] ?? []).map((status) => html`<${Act} key=${status} class="small" act=${() => move(one, status)}>${VERBS[status]}<//>`)}</div></li>`)}</ul>`;
}

/** Those that wait for somebody come first. @param {any[] | null} rows @param {string} status */
function sorted(rows, status) {
  return [...(rows ?? [])].sort((a, b) => Number(b.status === status) - Number(a.status === status));
}

/** @param {any[]} rows @param {string} id */
function nameIn(rows, id) {
  return rows.find((one) => one.id === id)?.name ?? "Somebody";
}
