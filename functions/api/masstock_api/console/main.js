// The console: decides who is here, and shows the view that the address names.
import { html, render, useEffect, useErrorBoundary, useRef, useState } from "./preact.js";
import { call, trouble } from "./api.js";
import { Failure, Head, Loading, Notice, Toasts, titleOf } from "./parts.js";
import { SIGN_IN, practiceMode, session } from "./session.js";
import { go, route, useStore } from "./state.js";

/** @typedef {{id: string, name: string, email: string, role: "admin" | "client", client_id: string | null, client_name: string | null}} Profile */

const CLIENT_PAGES = [["new", "New batch"], ["batches", "Batches"], ["library", "Library"], ["usage", "Usage"]];
const ADMIN_PAGES = [
  ["batches", "Batches"], ["clients", "Clients"], ["users", "Users"], ["workflows", "Workflows"], ["requests", "Requests"],
  ["tickets", "Tickets"], ["lanes", "Lanes"], ["reports", "Reports"],
];

/** The module of each view; loaded when it is first shown. @type {Record<string, () => Promise<any>>} */
const VIEWS = {
  enter: () => import("./enter.js"),
  new: () => import("./new_batch.js"),
  batches: () => import("./batches.js"),
  batch: () => import("./batch.js"),
  library: () => import("./library.js"),
  usage: () => import("./usage.js"),
  clients: () => import("./clients.js"),
  users: () => import("./users.js"),
  workflows: () => import("./workflows.js"),
  requests: () => import("./desk.js").then(({ Requests }) => ({ default: Requests })),
  tickets: () => import("./desk.js").then(({ Tickets }) => ({ default: Tickets })),
  lanes: () => import("./lanes.js"),
  reports: () => import("./reports.js"),
};

/** @type {Record<string, any>} */
const loaded = {};

/** A view's component, as soon as its module is here. @param {{name: string, [prop: string]: any}} props */
function View({ name, ...props }) {
  const [, setReady] = useState(0);
  const [error, setError] = useState(/** @type {any} */ (null));
  const Component = loaded[name];
  useEffect(() => {
    setError(null);
    // The module can arrive between the render and this effect: what was rendered counts.
    if (Component) return;
    VIEWS[name]?.().then(
      (module) => {
        loaded[name] = module.default;
        setReady((count) => count + 1);
      },
      setError,
    );
  }, [name]);
  if (error) return html`<${NewRelease} />`;
  return Component ? html`<${Component} ...${props} />` : html`<div class="head"><div class="head-row"></div></div><${Loading} />`;
}

function NewRelease() {
  return html`<${Head} title="Not loaded" /><${Notice} kind="wait" title="This page could not be loaded">
    <p>You are offline, or there is a new release of the console.</p>
    <p><button class="button" onClick=${() => location.reload()}>Reload</button></p>
  <//>`;
}

function Console() {
  const { token, ended } = useStore(session);
  const [profile, setProfile] = useState(/** @type {Profile | null} */ (null));
  const [error, setError] = useState(/** @type {any} */ (null));
  const [round, setRound] = useState(0);
  useEffect(() => {
    setError(null);
    // A renewed token is of the same user, whose page stays.
    if (!token) {
      setProfile(null);
      return undefined;
    }
    const stop = new AbortController();
    call("GET", "/v1/me", { signal: stop.signal }).then(setProfile, (problem) => !stop.signal.aborted && setError(problem));
    return () => stop.abort();
  }, [token, round]);
  if (!token) return html`<main class="entry"><${View} name="enter" ended=${ended} /></main>`;
  if (error) return html`<${Refused} error=${error} again=${() => setRound(round + 1)} />`;
  if (!profile) return html`<main class="page"><${Loading} /></main>`;
  return html`<${Shell} profile=${profile} key=${profile.id} />`;
}

/** @param {{error: any, again: () => void}} props */
function Refused({ error, again }) {
  if (error.code !== "not_provisioned") {
    return html`<main class="entry"><div class="card">
      <h1>${titleOf(error)}</h1><${Failure} error=${error} again=${again} />
      <p><button class="button" onClick=${session.leave}>Enter as somebody else</button></p></div></main>`;
  }
  return html`<main class="entry"><div class="card"><h1>Nearly there</h1>
    <p>You are signed in, but you have no account here yet.</p>
    <p>Ask your administrator to invite you by the e-mail address that you signed in with. Then try again.</p>
    <p class="row"><button class="button primary" onClick=${again}>Try again</button>
      <button class="button" onClick=${session.leave}>Enter as somebody else</button></p></div></main>`;
}

/** @param {{profile: Profile}} props */
function Shell({ profile }) {
  const address = useStore(route);
  const isAdmin = profile.role === "admin";
  const pages = isAdmin ? ADMIN_PAGES : CLIENT_PAGES;
  const home = isAdmin ? "clients" : "new";
  const [first = "", id] = address.split("/");
  const page = pages.some(([name]) => name === first) && VIEWS[first] ? first : home;
  useEffect(() => {
    if (page !== first) location.replace(`#/${page}`);
  }, [page, first]);
  const main = useRef(/** @type {HTMLElement | null} */ (null));
  const isFirst = useRef(true);
  useEffect(() => {
    // A new page begins at its top, also for a screen reader.
    if (!isFirst.current) {
      scrollTo(0, 0);
      main.current?.focus({ preventScroll: true });
    }
    isFirst.current = false;
  }, [address]);
  const name = page === "batches" && id ? "batch" : page;
  return html`
    <a class="skip" href="#main" onClick=${(/** @type {Event} */ event) => { event.preventDefault(); main.current?.focus(); }}>Skip to the page</a>
    <header class="bar"><div>
      <a class="brand" href=${`#/${home}`} aria-label="MasStock"><img src=${new URL("icon.svg", import.meta.url).href} alt="" width="28" height="28" /><b>MasStock</b></a>
      <nav aria-label="Pages" class=${pages.length > 4 ? "many" : ""}>${pages.filter(([page = ""]) => VIEWS[page]).map(
        ([to, text]) => html`<a key=${to} href=${`#/${to}`} aria-current=${to === page ? "page" : undefined}>${text}</a>`,
      )}</nav>
      <details class="who"><summary aria-label=${`Account of ${profile.name}`}><span>${profile.name}</span></summary><div>
        <b>${profile.name}</b><small>${profile.client_name ?? "Administrator"}</small><small>${profile.email}</small>
        <button class="button" onClick=${session.leave}>Sign out</button></div></details>
    </div></header>
    <${Trouble} />
    <main class="page" id="main" tabindex="-1" ref=${main}>
      <${Guard} key=${address}><${View} name=${name} id=${id} profile=${profile} /><//>
    </main>
    <footer class="foot"><span>${practiceMode.get() ? "Practice mode: sample pictures, nothing is charged" : SIGN_IN.local ? "Local stack" : location.host}</span>
      <a href="docs">API docs</a><a href="openapi.json">OpenAPI</a></footer>
    <${Toasts} />`;
}

/** A view that fails leaves the rest of the page alone. @param {{children?: any}} props */
function Guard({ children }) {
  const [error, reset] = useErrorBoundary((problem) => console.error(problem));
  if (!error) return children;
  return html`<${Head} title="Something broke" /><${Notice} kind="bad" title="This page failed"><p>That is our mistake. Your batches are not affected.</p>
    <p class="row"><button class="button" onClick=${reset}>Try again</button>
    <button class="button" onClick=${() => go("batches")}>Batches</button></p><//>`;
}

function Trouble() {
  const now = useStore(trouble);
  if (!now) return null;
  return html`<div class="trouble" role="status">${
    now === "offline"
      ? "You are offline. Running batches go on; this page catches up when you are back."
      : "The server is busy. The page tries again by itself."
  }</div>`;
}

/** Menus close by Escape, and by a click in them or elsewhere. @param {Event} event */
function closeMenus(event) {
  if (event instanceof KeyboardEvent && event.key !== "Escape") return;
  const target = /** @type {Element} */ (event.target);
  for (const menu of document.querySelectorAll("details:is(.who, .menu)[open]")) {
    const summary = menu.querySelector("summary");
    if (event instanceof MouseEvent && summary?.contains(target)) continue;
    if (event instanceof KeyboardEvent && menu.contains(target)) summary?.focus();
    menu.removeAttribute("open");
  }
}
addEventListener("click", closeMenus);
addEventListener("keydown", closeMenus);

const root = document.getElementById("console");
if (root) render(html`<${Console} />`, root);
