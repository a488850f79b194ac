// The body of a submission, and its price.
import { useEffect, useRef, useState } from "./preact.js";
import { call, sleep } from "./api.js";
import { contentOf, variablesOf } from "./prompts.js";
import { apiKey } from "./session.js";
import { upload } from "./uploads.js";

/** Bodies are at most 4 MB; longer lists are uploaded. */
const MOST_BODY = 3_500_000;
const NAME_LENGTH = 60;
const PAUSE_SECONDS = 0.35;
const AGAIN_SECONDS = 4;

/** @typedef {import("./draft.js").Draft} Draft */
/** @typedef {import("./prompts.js").PromptFile} PromptFile */

/** @param {string} text */
function firstWords(text) {
  return [...(text.trim().split("\n", 1)[0] ?? "")].slice(0, NAME_LENGTH).join("").trim();
}

/**
 * How many prompts the draft has, and what is missing.
 * @param {Draft} draft
 * @param {PromptFile | null} file
 */
export function countOf(draft, file) {
  const content = contentOf(draft, file);
  if (content.prompts) return { prompts: content.prompts.length, unknown: [], needsTemplate: false };
  const variables = variablesOf(draft.text);
  const unknown = variables.filter((name) => !file?.columns.includes(name));
  return { prompts: draft.text.trim() ? file?.rows.length ?? 0 : 0, unknown, needsTemplate: !variables.length };
}

/**
 * The body that POST /v1/executions takes.
 * @param {Draft} draft
 * @param {PromptFile | null} file
 * @param {string[]} keys of the reference images
 */
export async function bodyOf(draft, file, keys) {
  const body = {
    workflow_id: draft.workflow,
    ...contentOf(draft, file),
    // Lists show the name, so that every batch has one.
    name: draft.name.trim() || firstWords(draft.text) || file?.name.slice(0, NAME_LENGTH) || "Batch",
    ...(draft.ratio && { aspect_ratio: draft.ratio }),
    ...(draft.size && { image_size: draft.size }),
    ...(draft.images > 1 && { images_per_prompt: draft.images }),
    ...(draft.tier !== "standard" && { tier: draft.tier }),
    ...(keys.length && { reference_images: keys }),
  };
  if (JSON.stringify(body).length <= MOST_BODY) return body;
  const { prompts, rows, ...settings } = body;
  const lines = (prompts ?? rows ?? []).map((/** @type {unknown} */ one) =>
    JSON.stringify(typeof one === "string" ? { prompt: one } : one),
  );
  return { ...settings, prompts_key: await uploaded(lines.join("\n")) };
}

let last = { text: "", key: "" };

/** @param {string} text */
async function uploaded(text) {
  if (last.text !== text) {
    const key = await upload(new Blob([text]), "prompts", "application/jsonl", null);
    last = { text, key };
  }
  return last.key;
}

/**
 * What the draft would cost: a dry run a moment after the last change.
 * @param {Draft} draft
 * @param {PromptFile | null} file
 * @param {string[]} keys
 * @param {boolean} isReady
 */
export function usePrice(draft, file, keys, isReady) {
  const [price, setPrice] = useState(/** @type {{estimate: any, problem: any, isAsking: boolean}} */ ({ estimate: null, problem: null, isAsking: false }));
  const { name: _, ...asked } = draft;
  const wanted = isReady ? JSON.stringify([asked, keys]) : "";
  const latest = useRef({ draft, file, keys });
  latest.current = { draft, file, keys };
  useEffect(() => {
    if (!wanted) {
      setPrice({ estimate: null, problem: null, isAsking: false });
      return undefined;
    }
    const stop = new AbortController();
    setPrice((before) => ({ ...before, isAsking: true }));
    (async () => {
      for (let pause = PAUSE_SECONDS; ; pause = AGAIN_SECONDS) {
        await sleep(pause, stop.signal);
        if (stop.signal.aborted) return;
        try {
          const { draft, file, keys } = latest.current;
          // The price is shown before the key is entered. A dry run uses no key, but wants one.
          const body = { ...(await bodyOf(draft, file, keys)), api_key: apiKey.get() ?? "to-be-entered" };
          const estimate = await call("POST", "/v1/executions", { query: { dry_run: true }, body, signal: stop.signal });
          if (!stop.signal.aborted) setPrice({ estimate, problem: null, isAsking: false });
          return;
        } catch (problem) {
          if (!stop.signal.aborted) setPrice({ estimate: null, problem, isAsking: false });
          const { status = 0 } = /** @type {any} */ (problem);
          const isRefused = status >= 400 && status < 500 && status !== 429;
          if (isRefused) return;
        }
      }
    })();
    return () => stop.abort();
  }, [wanted, file]);
  return price;
}
