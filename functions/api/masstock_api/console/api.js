// Calls of the public API. Everything that the console does goes through `call`.
import { store } from "./state.js";
import { keptAttempts, refreshToken, session } from "./session.js";

/** Why the last call did not get through: shown above every view. */
export const trouble = store(/** @type {"" | "offline" | "busy"} */ (""));

addEventListener("offline", () => trouble.set("offline"));
addEventListener("online", () => trouble.set(""));

const PATIENCE_SECONDS = [1, 2, 4];
const BUSY = new Set([429, 502, 503, 504]);

/** An answer that is no success: a problem of the API, or no answer at all. */
export class Problem extends Error {
  /** @param {{status: number, code: string, detail: string, errors?: {pointer: string, detail: string}[], requestId?: string}} told */
  constructor({ status, code, detail, errors = [], requestId = "" }) {
    super(detail);
    this.status = status;
    this.code = code;
    this.errors = errors;
    this.requestId = requestId;
  }
}

/**
 * @typedef {object} Options
 * @property {unknown} [body]
 * @property {Record<string, string | number | boolean | null | undefined>} [query]
 * @property {string} [etag] answers null if nothing changed since
 * @property {string} [key] Idempotency-Key: the same for each attempt of one act
 * @property {AbortSignal} [signal]
 */

/**
 * Sends one request and returns the body of its answer. Repeats what is safe to repeat while the
 * API is busy. Throws a Problem.
 * @param {"GET" | "POST" | "PATCH" | "DELETE"} method
 * @param {string} path
 * @param {Options} [options]
 * @returns {Promise<any>}
 */
export async function call(method, path, options = {}) {
  return (await exchange(method, path, options)).body;
}

/**
 * Like `call`, with the ETag.
 * @param {"GET" | "POST" | "PATCH" | "DELETE"} method
 * @param {string} path
 * @param {Options} [options]
 */
export async function exchange(method, path, options = {}) {
  const url = path + queryOf(options.query);
  /** @type {Record<string, string>} */
  const headers = {};
  const { token } = session.get();
  if (token) headers.Authorization = `Bearer ${token}`;
  if (options.body !== undefined) headers["Content-Type"] = "application/json";
  if (options.etag) headers["If-None-Match"] = options.etag;
  const isSafe = method === "GET" || options.key !== undefined;
  if (options.key) headers["Idempotency-Key"] = options.key;
  const body = options.body === undefined ? null : JSON.stringify(options.body);
  let isRenewed = false;
  for (let attempt = 0; ; attempt += 1) {
    /** @type {Response} */
    let response;
    try {
      response = await fetch(url, { method, headers, body, signal: options.signal ?? null });
    } catch (error) {
      if (options.signal?.aborted) throw error;
      trouble.set("offline");
      throw new Problem({ status: 0, code: "offline", detail: "The server cannot be reached." });
    }
    if (response.status === 401 && refreshToken.get() && !isRenewed) {
      // Another request may have renewed it.
      isRenewed = session.get().token !== token || (await (await import("./signin.js")).renew());
      headers.Authorization = `Bearer ${session.get().token}`;
      if (isRenewed) continue;
    }
    if (BUSY.has(response.status) && isSafe && attempt < PATIENCE_SECONDS.length) {
      trouble.set("busy");
      const told = Number(response.headers.get("Retry-After"));
      await sleep(Math.min(told || PATIENCE_SECONDS[attempt] || 4, 10), options.signal);
      continue;
    }
    trouble.set(BUSY.has(response.status) ? "busy" : "");
    if (response.status === 304) return { body: null, etag: options.etag ?? "" };
    if (!response.ok) throw await problemOf(response, token);
    const text = await response.text();
    return { body: text ? JSON.parse(text) : null, etag: response.headers.get("ETag") ?? "" };
  }
}

/**
 * @param {Response} response
 * @param {string} token
 */
async function problemOf(response, token) {
  const told = await response.json().catch(() => ({}));
  const problem = new Problem({
    status: response.status,
    code: told.code ?? (response.status === 429 ? "throttled" : "unknown"),
    detail: told.detail ?? told.message ?? `The server answered ${response.status}.`,
    errors: told.errors,
    requestId: told.request_id,
  });
  if (response.status === 401) session.end(token);
  return problem;
}

/** @param {Options["query"]} query */
function queryOf(query) {
  const given = Object.entries(query ?? {}).filter(([, value]) => value !== undefined && value !== null && value !== "");
  if (!given.length) return "";
  return `?${new URLSearchParams(given.map(([name, value]) => [name, String(value)]))}`;
}

/**
 * @param {number} seconds
 * @param {AbortSignal} [signal]
 * @returns {Promise<void>}
 */
export function sleep(seconds, signal) {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, seconds * 1000);
    signal?.addEventListener("abort", () => {
      clearTimeout(timer);
      resolve();
    });
  });
}

/** @returns {string} */
export function newKey() {
  return crypto.randomUUID();
}

/** @param {Uint8Array} bytes */
export function base64url(bytes) {
  return btoa(String.fromCharCode(...bytes)).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
}

/** The SHA-256 of a text. @param {string} text */
export async function digestOf(text) {
  return base64url(new Uint8Array(await crypto.subtle.digest("SHA-256", new TextEncoder().encode(text))));
}

/** Idempotency-Keys of what was sent and not yet answered, by digest. @returns {Record<string, string>} */
function sent() {
  return JSON.parse(keptAttempts.get() ?? "{}");
}

/** What a person sends again after a lost answer, also after a reload, happens once. */
export const attempt = {
  /** The Idempotency-Key: the same for the same path and body. @param {string} path @param {unknown} body */
  async keyOf(path, body) {
    const digest = await digestOf(JSON.stringify([path, body]));
    const key = sent()[digest] ?? newKey();
    keptAttempts.set(JSON.stringify({ ...sent(), [digest]: key }));
    return key;
  },
  /** After the answer, the same body is another request. @param {string} key */
  forget(key) {
    keptAttempts.set(JSON.stringify(Object.fromEntries(Object.entries(sent()).filter(([, each]) => each !== key))));
  },
};

/**
 * All rows of a list, page by page, at most `most`.
 * @param {string} path
 * @param {Options["query"]} [query]
 * @param {number} [most]
 * @returns {Promise<any[]>}
 */
export async function all(path, query = {}, most = 1000) {
  const rows = [];
  /** @type {string | null} */
  let cursor = null;
  do {
    const page = await call("GET", path, { query: { limit: 200, ...query, cursor } });
    rows.push(...page.items);
    cursor = page.next_cursor;
  } while (cursor && rows.length < most);
  return rows;
}
