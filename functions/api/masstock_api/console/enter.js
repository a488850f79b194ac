// The entry: demo users on the local stack, else sign-in or a pasted token.
import { html, useEffect, useState } from "./preact.js";
import { Failure, Field, Notice, Loading } from "./parts.js";
import { SIGN_IN, practiceMode, session } from "./session.js";

/** @type {Record<string, string>} */
const ROLES = {
  Acme: "Paint pictures as John of Acme. Begin here",
  Beta: "Another company, which sees nothing of Acme",
  Administrator: "Clients, users, workflows, reports",
};

/** @param {{ended: boolean}} props */
export default function Enter({ ended }) {
  return html`<div class="card">
    <img src=${new URL("icon.svg", import.meta.url).href} alt="" width="56" height="56" />
    <h1>MasStock</h1>
    <p class="lead">Paste prompts, watch pictures, take them home.</p>
    ${ended && html`<${Notice} kind="wait" title="Your session has ended">Enter again, and you are back where you were. Running batches went on.<//>`}
    ${SIGN_IN.local && html`<${DemoUsers} />`}
    ${(SIGN_IN.supabase_url || SIGN_IN.client_id) && html`<${SignIn} />`}
    <${PastedToken} isOnly=${!SIGN_IN.local && !SIGN_IN.supabase_url && !SIGN_IN.client_id} />
  </div>`;
}

/** The issuers' ways in; loaded only where there are some. */
function SignIn() {
  const [module, setModule] = useState(/** @type {any} */ (null));
  const [problem, setProblem] = useState("");
  useEffect(() => {
    import("./signin.js").then(async (loaded) => {
      setModule(loaded);
      if (/[?&](code|error)=/.test(location.search)) setProblem(await loaded.finishOpenId());
    });
  }, []);
  if (!module) return html`<${Loading} rows=${1} />`;
  return html`${problem && html`<${Notice} kind="bad">${problem}<//>`}
    ${SIGN_IN.supabase_url && html`<${module.SupabaseSignIn} />`}${SIGN_IN.client_id && html`<${module.OpenIdSignIn} />`}`;
}

function DemoUsers() {
  const [entry, setEntry] = useState(/** @type {{items: {name: string, token: string}[], practice: boolean} | null} */ (null));
  const [error, setError] = useState(/** @type {any} */ (null));
  useEffect(() => {
    fetch("/_local/entry")
      .then((answer) => {
        if (!answer.ok) throw new Error("This page may not hand out tokens. Open the address that make up prints.");
        return answer.json();
      })
      .then(setEntry, setError);
  }, []);
  if (error) return html`<${Failure} error=${error} />`;
  if (!entry) return html`<${Loading} />`;
  const enter = (/** @type {string} */ token) => {
    session.begin(token);
    practiceMode.set(entry.practice ? "1" : null);
  };
  return html`${entry.practice && html`<p class="quiet">Practice mode: the pictures are samples, and nothing is charged.</p>`}
    <div class="entries">${entry.items.map(
    ({ name, token }) => html`<button key=${name} class="entry-button" onClick=${() => enter(token)}>
      <b>Enter as ${name}</b><small>${ROLES[name]}</small></button>`,
  )}</div>`;
}

/** @param {{isOnly: boolean}} props */
function PastedToken({ isOnly }) {
  const [token, setToken] = useState("");
  const enter = (/** @type {Event} */ event) => {
    event.preventDefault();
    const text = token.trim().replace(/^Bearer\s+/i, "");
    if (text) session.begin(text);
  };
  return html`<details class="more" open=${isOnly}><summary>Enter with a token</summary>
    <form onSubmit=${enter}>
      <${Field} label="Bearer token" hint="It stays in this tab.">
        <input type="password" autocomplete="off" value=${token} onInput=${(/** @type {any} */ event) => setToken(event.target.value)} />
      <//>
      <button class="button" disabled=${!token.trim()}>Enter</button>
    </form></details>`;
}
