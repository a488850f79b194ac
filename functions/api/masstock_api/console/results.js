// The results of one batch: only the pages that are on the screen are read, and only until they
// cannot change any more.
import { useEffect, useRef, useState } from "./preact.js";
import { call, exchange, sleep } from "./api.js";

export const PAGE = 50;
const LOOK_SECONDS = 2;
const URL_SECONDS = 600;

/** @typedef {import("./types.js").Result} Result */
/** @typedef {import("./types.js").Execution} Execution */

/** @param {{status: string} | null} execution */
export function isLive(execution) {
  return execution !== null && (execution.status === "pending" || execution.status === "processing");
}

/**
 * One execution, read again while it lives.
 * @param {string} id
 */
export function useExecution(id) {
  const [state, setState] = useState(/** @type {{execution: Execution | null, error: any}} */ ({ execution: null, error: null }));
  const [round, setRound] = useState(0);
  useEffect(() => {
    const stop = new AbortController();
    (async () => {
      let etag = "";
      while (!stop.signal.aborted) {
        let pause = LOOK_SECONDS;
        try {
          // A hidden tab asks rarely.
          const answer = await exchange("GET", `/v1/executions/${id}`, { etag, signal: stop.signal });
          etag = answer.etag;
          if (answer.body) setState({ execution: answer.body, error: null });
          if (answer.body && !isLive(answer.body)) return;
        } catch (problem) {
          if (stop.signal.aborted) return;
          const error = /** @type {any} */ (problem);
          if (error.status >= 400 && error.status < 500 && error.status !== 429) {
            setState({ execution: null, error });
            return;
          }
          setState((before) => (before.execution ? before : { execution: null, error }));
          pause = 5;
        }
        await sleep(document.hidden ? 15 : pause, stop.signal);
      }
    })();
    return () => stop.abort();
  }, [id, round]);
  return {
    ...state,
    again: () => setRound((last) => last + 1),
    set: (/** @type {Execution} */ execution) => {
      setState({ execution, error: null });
      setRound((last) => last + 1);
    },
  };
}

/**
 * The results by index, of what is on the screen.
 * @param {Execution | null} execution
 * @param {{from: number, to: number}} range
 */
export function useResults(execution, range) {
  const [, setVersion] = useState(0);
  const memory = useRef({ id: "", run: "", rows: /** @type {Map<number, Result>} */ (new Map()), pages: /** @type {Map<number, {etag: string, isFinal: boolean, readAt: number}>} */ (new Map()) });
  const kept = memory.current;
  const id = execution?.id ?? "";
  // A retry opens rows again; the end of a run closes all of them.
  const run = `${id} ${isLive(execution)}`;
  if (kept.id !== id) memory.current = { id, run, rows: new Map(), pages: new Map() };
  else if (kept.run !== run) {
    kept.run = run;
    for (const page of kept.pages.values()) page.isFinal = false;
  }
  const first = Math.floor(range.from / PAGE);
  const last = Math.floor(Math.max(range.from, range.to) / PAGE);
  const total = totalOf(execution);
  useEffect(() => {
    if (!id || !total) return undefined;
    const stop = new AbortController();
    const { rows, pages } = memory.current;
    const read = async (/** @type {number} */ number) => {
      const page = pages.get(number) ?? { etag: "", isFinal: false, readAt: 0 };
      if (page.isFinal && Date.now() - page.readAt < URL_SECONDS * 1000) return true;
      const query = { from_index: number * PAGE, limit: PAGE };
      const answer = await exchange("GET", `/v1/executions/${id}/results`, { query, etag: page.etag, signal: stop.signal });
      if (answer.body) {
        for (const row of answer.body.items) rows.set(row.batch_index, row);
        setVersion((version) => version + 1);
      }
      page.etag = answer.etag;
      page.readAt = Date.now();
      const end = Math.min(total, (number + 1) * PAGE);
      page.isFinal = true;
      for (let index = number * PAGE; index < end; index += 1) {
        if ((rows.get(index)?.status ?? "processing") === "processing") page.isFinal = false;
      }
      pages.set(number, page);
      return page.isFinal;
    };
    (async () => {
      while (!stop.signal.aborted) {
        let isFinal = true;
        let isLost = false;
        try {
          for (let number = first; number <= last; number += 1) isFinal = (await read(number)) && isFinal;
        } catch {
          isFinal = false;
          isLost = true;
        }
        if (isFinal || (!isLost && !isLive(execution) && pages.get(last)?.readAt)) return;
        await sleep(document.hidden ? 15 : LOOK_SECONDS, stop.signal);
      }
    })();
    return () => stop.abort();
  }, [id, run, first, last, total]);
  return memory.current.rows;
}

/** @param {Execution | null} execution */
export function totalOf(execution) {
  return execution?.progress?.total ?? execution?.output_data?.total ?? execution?.prompt_count ?? 0;
}

/** The prompts of a batch before its rows exist. @param {Execution} execution @param {number} index */
export function promptAt(execution, index) {
  const prompts = execution.input_data?.prompts ?? [];
  const each = prompts.length ? Math.max(1, Math.round(totalOf(execution) / prompts.length)) : 1;
  const prompt = prompts[Math.floor(index / each)];
  return typeof prompt === "string" ? prompt : prompt?.prompt ?? "";
}

/**
 * The address of a picture. It stays the same while it is valid, so that a tile never loads twice.
 * @type {Map<string, {url: string, until: number}>}
 */
const addresses = new Map();

/** @param {Result} result @param {"thumbnail" | "image"} kind */
export function addressOf(result, kind) {
  const url = kind === "thumbnail" ? result.thumbnail_url ?? result.result_url : result.result_url;
  if (!url) return "";
  const name = `${kind} ${result.execution_id} ${result.batch_index} ${result.image_sha256}`;
  const known = addresses.get(name);
  if (known && known.until > Date.now()) return known.url;
  const until = result.url_expires_at ? Date.parse(result.url_expires_at) : Date.now() + URL_SECONDS * 1000;
  addresses.set(name, { url, until });
  return url;
}

/** The image's bytes, with the name that a person would give the file. @param {Result} result */
export async function fetchImage(result) {
  const path = `/v1/executions/${result.execution_id}/results/${result.batch_index}/image`;
  const { url } = await call("GET", path, { query: { redirect: false } });
  // An <img> may have left a copy in the cache without the headers that a fetch needs.
  const answer = await fetch(url, { cache: "reload" });
  if (!answer.ok) throw new Error("The image could not be fetched.");
  return answer.blob();
}

/** The name that the image's URL gives the file, as in a ZIP. @param {Result} result */
export function fileNameOf(result) {
  const query = new URLSearchParams((result.result_url ?? "").split("?")[1]);
  const named = /filename\*=UTF-8''(.+)/.exec(query.get("response-content-disposition") ?? "");
  if (named?.[1]) return decodeURIComponent(named[1]);
  // The URL of a public image is not signed.
  const extension = { "image/jpeg": "jpg", "image/webp": "webp" }[result.mime_type ?? ""] ?? "png";
  const base = (result.custom_id ?? String(result.batch_index).padStart(4, "0")).replace(/[^\p{L}\p{N}._-]+/gu, "-").slice(0, 80);
  return `${base}.${extension}`;
}

/** @param {Result} result */
export async function download(result) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(await fetchImage(result));
  link.download = fileNameOf(result);
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}
