// The parts that every view is made of.
import { html, useEffect, useLayoutEffect, useRef, useState } from "./preact.js";
import { say, toast, useStore } from "./state.js";

/** @typedef {import("./preact.js").VNode} VNode */
/** @typedef {any} Children */

/** @param {{title: string, aside?: Children, children?: Children, back?: {href: string, text: string}}} props */
export function Head({ title, aside, children, back }) {
  useEffect(() => {
    document.title = `${title} · MasStock`;
  }, [title]);
  return html`<header class="head">
    ${back && html`<a class="back" href=${back.href}>← ${back.text}</a>`}
    <div class="head-row"><h1 tabindex="-1">${title}</h1>${aside && html`<div class="head-aside">${aside}</div>`}</div>
    ${children}
  </header>`;
}

/** @param {{kind?: "info" | "good" | "bad" | "wait", title?: string, children?: Children}} props */
export function Notice({ kind = "info", title, children }) {
  return html`<div class=${`notice ${kind}`} role=${kind === "bad" ? "alert" : "status"}>
    ${title && html`<strong>${title}</strong>`}<div>${children}</div>
  </div>`;
}

/** @param {{title: string, children?: Children}} props */
export function Empty({ title, children }) {
  return html`<div class="empty"><${Frames} /><h2>${title}</h2>${children}</div>`;
}

function Frames() {
  return html`<div class="frames" aria-hidden="true"><i></i><i></i><i></i></div>`;
}

/** @param {{rows?: number, tall?: boolean}} props */
export function Loading({ rows = 3, tall = false }) {
  const bars = Array.from({ length: rows }, (_, i) => html`<i key=${i}></i>`);
  return html`<div class=${tall ? "loading tall" : "loading"} role="status" aria-label="Loading">${bars}</div>`;
}

/** What went wrong, and a way on. @param {{error: any, again?: () => void}} props */
export function Failure({ error, again }) {
  return html`<${Notice} kind="bad" title=${titleOf(error)}>
    <p>${wordsOf(error)}</p>
    ${again && html`<p><button class="button" onClick=${again}>Try again</button></p>`}
  <//>`;
}

/** @type {Record<string, [string, string]>} */
const PROBLEMS = {
  offline: ["You are offline", "The server cannot be reached. Running batches go on without you."],
  throttled: ["Too many requests", "The server asks for a pause. Try again in a moment."],
  not_found: ["Not found", "It was deleted, or it belongs to somebody else."],
  forbidden: ["Not allowed", "Your account may not do this."],
  account_inactive: ["This account is suspended", "Ask an administrator to activate it."],
  budget_exceeded: ["Over budget", "This costs more than what is left of this month's budget."],
  precondition_failed: ["Somebody was faster", "This was changed since you opened it. Reload and try again."],
  outcome_unknown: ["Saved or not?", "The connection broke while saving. Look first, then try again."],
  expired: ["No longer kept", "The image is older than your client keeps images."],
};

/** @param {any} error */
export function titleOf(error) {
  if (PROBLEMS[error?.code]) return PROBLEMS[error.code]?.[0];
  if (error?.status >= 500) return "The server has a problem";
  return "That did not work";
}

/** @param {any} error @param {{name: string, label: string}[]} [fields] of the form that was refused */
export function wordsOf(error, fields = []) {
  if (error?.code === "validation_failed" && error.errors?.length) {
    return error.errors.map((/** @type {{pointer: string, detail: string}} */ one) => {
      const field = fields.find(({ name }) => one.pointer.endsWith(`/${name}`));
      return field ? `${field.label}: ${one.detail}` : one.detail;
    }).join(" ");
  }
  if (error?.code === "budget_exceeded" && error.message) return error.message;
  if (error?.code === "conflict") return error.message;
  const told = PROBLEMS[error?.code]?.[1] ?? (error?.status >= 500 ? "Try again in a moment. Nothing is lost." : error?.message);
  const id = error?.status >= 500 && error.requestId ? ` Tell support this number: ${error.requestId}` : "";
  return `${told ?? "Try again."}${id}`;
}

/**
 * One choice of few, as buttons.
 * @param {{label: string, name: string, options: {value: any, text: string, note?: string, ratio?: string, disabled?: boolean}[], value: any, onChange: (value: any) => void}} props
 */
export function Chips({ label, name, options, value, onChange }) {
  return html`<fieldset class="chips"><legend>${label}</legend><div>
    ${options.map(
      (option) => html`<label key=${option.value} class=${option.note ? "chip wide" : "chip"}>
        <input type="radio" name=${name} checked=${option.value === value} disabled=${option.disabled}
          onChange=${() => onChange(option.value)} />
        <span>${option.ratio && html`<${RatioBox} ratio=${option.ratio} />`}<b>${option.text}</b>
          ${option.note && html`<small>${option.note}</small>`}</span>
      </label>`,
    )}
  </div></fieldset>`;
}

/** Title and words in one line. @param {any} error @param {{name: string, label: string}[]} [fields] */
export function problemOf(error, fields) {
  return `${titleOf(error)}. ${wordsOf(error, fields)}`;
}

/** @param {{ratio: string}} props */
function RatioBox({ ratio }) {
  const [width = 1, height = 1] = ratio.split(":").map(Number);
  const scale = 14 / Math.max(width, height);
  return html`<i class="ratio" aria-hidden="true" style=${{ width: `${width * scale}px`, height: `${height * scale}px` }}></i>`;
}

let ids = 0;

function nextId() {
  ids += 1;
  return `field-${ids}`;
}

/** @param {{label: string, hint?: string, children: Children, optional?: boolean}} props */
export function Field({ label, hint, children, optional }) {
  const element = useRef(/** @type {HTMLElement | null} */ (null));
  const [id] = useState(nextId);
  // The label is beside its control: around a list of options its name would contain all of them.
  useLayoutEffect(() => {
    element.current?.querySelector("input, select, textarea")?.setAttribute("id", id);
  });
  return html`<div class="field" ref=${element}><label for=${id}>${label}</label>${optional && html` <em>optional</em>`}${children}
    ${hint && html`<small>${hint}</small>`}</div>`;
}

/** @param {{title: string, onClose: () => void, children: Children, wide?: boolean}} props */
export function Dialog({ title, onClose, children, wide }) {
  const element = useRef(/** @type {HTMLDialogElement | null} */ (null));
  useEffect(() => {
    const opener = document.activeElement;
    const dialog = element.current;
    dialog?.showModal();
    // A form begins at its first field, not at the button that closes it.
    const field = dialog?.querySelector("input, select, textarea");
    if (field instanceof HTMLElement) field.focus();
    return () => {
      // Outside of an open dialog nothing can have the focus.
      dialog?.close();
      if (opener instanceof HTMLElement) opener.focus();
    };
  }, []);
  const outside = (/** @type {MouseEvent} */ event) => event.target === element.current && onClose();
  return html`<dialog ref=${element} class=${wide ? "wide" : ""} aria-label=${title} onClick=${outside}
    onCancel=${(/** @type {Event} */ event) => { event.preventDefault(); onClose(); }}>
    <div class="dialog"><header><h2>${title}</h2>
      <button class="icon" aria-label="Close" onClick=${onClose}>✕</button></header>${children}</div>
  </dialog>`;
}

/** False as soon as the component has gone, for what goes on without it. */
export function useIsHere() {
  const isHere = useRef(true);
  useEffect(() => () => {
    isHere.current = false;
  }, []);
  return isHere;
}

/**
 * A button that shows that its act is under way, and what went wrong with it.
 * @param {{act: () => Promise<unknown>, children: Children, class?: string, disabled?: boolean, title?: string}} props
 */
export function Act({ act, children, class: kind = "", disabled = false, title }) {
  const [isBusy, setBusy] = useState(false);
  const run = async () => {
    setBusy(true);
    try {
      await act();
    } catch (error) {
      say(problemOf(error));
    } finally {
      setBusy(false);
    }
  };
  return html`<button type="button" class=${`button ${kind}`} title=${title} disabled=${disabled || isBusy}
    aria-busy=${isBusy} onClick=${run}>${children}</button>`;
}

export function Toasts() {
  const message = useStore(toast);
  useEffect(() => {
    if (!message) return undefined;
    const timer = setTimeout(() => toast.set(null), 4000 + message.text.length * 60);
    return () => clearTimeout(timer);
  }, [message]);
  return html`<div class="toasts" role="status" aria-live="polite">${message && html`<p key=${message.id}>${message.text}</p>`}</div>`;
}

/** @param {string} text */
export async function copy(text) {
  await navigator.clipboard.writeText(text);
  say("Copied.");
}

/**
 * What a request answers: {data, error, again}. `deps` name what it depends on.
 * @param {() => Promise<any>} load
 * @param {unknown[]} deps
 */
export function useLoaded(load, deps) {
  const asked = JSON.stringify(deps);
  const [state, setState] = useState(/** @type {{data: any, error: any, asked: string}} */ ({ data: null, error: null, asked }));
  const [round, setRound] = useState(0);
  const isOld = state.asked !== asked;
  useEffect(() => {
    let isCurrent = true;
    load().then(
      (data) => isCurrent && setState({ data, error: null, asked }),
      (error) => isCurrent && setState((last) => ({ data: last.asked === asked ? last.data : null, error, asked })),
    );
    return () => {
      isCurrent = false;
    };
  }, [...deps, round]);
  return { data: isOld ? null : state.data, error: isOld ? null : state.error, again: () => setRound((last) => last + 1) };
}
