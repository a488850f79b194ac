// Small stores that views subscribe to, and the address of the view after the #.
import { useEffect, useState } from "./preact.js";

/**
 * @template T
 * @param {T} value
 */
export function store(value) {
  /** @type {Set<(value: T) => void>} */
  const listeners = new Set();
  return {
    get: () => value,
    /** @param {T} next */
    set(next) {
      value = next;
      for (const listener of listeners) listener(next);
    },
    /** @param {(value: T) => void} listener */
    subscribe(listener) {
      listeners.add(listener);
      return () => {
        listeners.delete(listener);
      };
    },
  };
}

/**
 * The present value of a store. The component is drawn again when it changes.
 * @template T
 * @param {{get: () => T, subscribe: (listener: (value: T) => void) => () => void}} source
 * @returns {T}
 */
export function useStore(source) {
  const [value, setValue] = useState(source.get());
  useEffect(() => {
    setValue(source.get());
    return source.subscribe(setValue);
  }, [source]);
  return value;
}

/** The view's address: `batches/<id>` of `#/batches/<id>`. */
export const route = store(addressOf(location.hash));

/** @param {string} hash */
function addressOf(hash) {
  return hash.replace(/^#\/?/, "").replace(/\?.*$/, "");
}

addEventListener("hashchange", () => route.set(addressOf(location.hash)));

/** Puts another address into the window, without a trace of the present one. @param {string} hash */
export function replaceAddress(hash) {
  history.replaceState(null, "", `/${hash}`);
  route.set(addressOf(hash));
}

/** @param {string} address */
export function go(address) {
  location.hash = `#/${address}`;
}

/** Short messages at the bottom of the window. */
export const toast = store(/** @type {{text: string, id: number} | null} */ (null));

let toasts = 0;

/** @param {string} text */
export function say(text) {
  toasts += 1;
  toast.set({ text, id: toasts });
}

/**
 * A value that lives as long as the tab. Without storage (some private windows) it lives as long
 * as the page.
 * @param {string} name
 */
export function tabValue(name) {
  /** @type {string | null} */
  let kept = null;
  return {
    get() {
      try {
        return sessionStorage.getItem(name) ?? kept;
      } catch {
        return kept;
      }
    },
    /** @param {string | null} value */
    set(value) {
      kept = value;
      try {
        if (value === null) sessionStorage.removeItem(name);
        else sessionStorage.setItem(name, value);
      } catch {
        // Kept in memory.
      }
    },
  };
}
