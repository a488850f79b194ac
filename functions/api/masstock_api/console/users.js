// Administrators: users, and invitations by e-mail.
import { html, useState } from "./preact.js";
import { all, call, newKey } from "./api.js";
import { ago } from "./format.js";
import { Act, Failure, Head, Loading, useLoaded } from "./parts.js";
import { say } from "./state.js";
import { FormDialog, Table } from "./table.js";

const INVITED_DAYS = 14;

/** @param {{profile: import("./main.js").Profile}} props */
export default function Users({ profile }) {
  const { data, error, again } = useLoaded(() => Promise.all([all("/v1/users"), all("/v1/clients")]), []);
  const [isInviting, setInviting] = useState(false);
  const [users, clients] = data ?? [null, []];
  const nameOf = (/** @type {string | null} */ id) => clients.find((/** @type {any} */ one) => one.id === id)?.name ?? "–";
  const invite = async (/** @type {any} */ values) => {
    const { email, name, role, client_id } = values;
    const invited_until = new Date(Date.now() + INVITED_DAYS * 86400_000).toISOString();
    await call("POST", "/v1/users", { body: { email, name, role, invited_until, ...(role === "client" && { client_id }) }, key: newKey() });
    say(`${email} can sign in within ${INVITED_DAYS} days.`);
    again();
  };
  const set = async (/** @type {any} */ user, /** @type {string} */ status) => {
    await call("PATCH", `/v1/users/${user.id}`, { body: { status } });
    again();
  };
  return html`<${Head} title="Users" aside=${html`<button class="button primary" disabled=${!users} onClick=${() => setInviting(true)}>Invite</button>`} />
    ${error && html`<${Failure} error=${error} again=${again} />`}
    ${!data && !error && html`<${Loading} />`}
    ${users && html`<${Table} label="Users" empty="No users yet." rows=${users.filter((/** @type {any} */ one) => one.status !== "deleted")} columns=${[
      { name: "Name", cell: (/** @type {any} */ one) => html`<b>${one.name}</b>` },
      { name: "E-mail", cell: (/** @type {any} */ one) => one.email },
      { name: "Client", cell: (/** @type {any} */ one) => (one.role === "admin" ? "Administrator" : nameOf(one.client_id)) },
      { name: "Last here", cell: (/** @type {any} */ one) => (one.last_login ? ago(one.last_login) : "never") },
      { name: "Status", cell: (/** @type {any} */ one) => stateOf(one) },
      { name: "", cell: (/** @type {any} */ one) => one.id !== profile.id && html`<${Act} class="small" act=${() => set(one, one.status === "active" ? "suspended" : "active")}>${one.status === "active" ? "Suspend" : "Activate"}<//>` },
    ]} />`}
    ${isInviting && html`<${FormDialog} title="Invite somebody" verb="Invite" save=${invite} onClose=${() => setInviting(false)}
      values=${{ role: "client", client_id: clients[0]?.id ?? "" }} fields=${[
        { name: "email", label: "E-mail", type: "email", hint: "They sign in with this address." },
        { name: "name", label: "Name" },
        { name: "role", label: "Role", type: "select", options: [{ value: "client", text: "User of a client" }, { value: "admin", text: "Administrator" }] },
        { name: "client_id", label: "Client", type: "select", shown: (/** @type {any} */ values) => values.role === "client",
          options: clients.map((/** @type {any} */ one) => ({ value: one.id, text: one.name })) },
      ]} />`}`;
}

/** @param {any} user */
function stateOf(user) {
  if (user.invited_until) {
    const isOver = Date.parse(user.invited_until) < Date.now();
    return html`<span class=${`state ${isOver ? "bad" : "wait"}`}>${isOver ? "invitation expired" : "invited"}</span>`;
  }
  return html`<span class=${`state ${user.status === "active" ? "good" : "bad"}`}>${user.status}</span>`;
}
