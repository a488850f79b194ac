// Who is here: the token and its account. The token is in memory and in the tab's storage, never in
// an address.
import { store, tabValue } from "./state.js";

/** How this installation lets people in; the page's <meta name="sign-in">. */
export const SIGN_IN = /** @type {{local: boolean, supabase_url: string, supabase_key: string, issuer: string, client_id: string, audience: string}} */ (
  JSON.parse(document.querySelector('meta[name="sign-in"]')?.getAttribute("content") ?? "{}")
);

const keptToken = tabValue("token");
const keptRefresh = tabValue("refresh");
const key = tabValue("api-key");
const practice = tabValue("practice");
/** The user whose session ended. */
const keptUser = tabValue("user");
/** What a user writes. Their modules can be loaded later than the user leaves. */
export const keptDraft = tabValue("draft");
export const keptEdits = tabValue("edits");
export const keptAttempts = tabValue("sent");
const ofUser = [keptToken, keptRefresh, keptUser, key, practice, keptDraft, keptEdits, keptAttempts];

/** The claims of a token; none if it is no JWT. @param {string | undefined} token @returns {any} */
export function claimsOf(token) {
  try {
    return JSON.parse(atob((token?.split(".")[1] ?? "").replaceAll("-", "+").replaceAll("_", "/")));
  } catch {
    return {};
  }
}

/** @param {string} token @returns {string} */
function userOf(token) {
  return claimsOf(token).sub ?? "";
}

const state = store({ token: keptToken.get() ?? "", ended: false });

export const session = {
  get: state.get,
  subscribe: state.subscribe,
  /**
   * After a session has ended, its user finds everything again, and another user nothing.
   * @param {string} token
   * @param {string} [refresh]
   */
  begin(token, refresh) {
    const last = keptUser.get();
    if (last !== null && last !== userOf(token)) session.leave();
    keptUser.set(null);
    keptToken.set(token);
    keptRefresh.set(refresh ?? null);
    state.set({ token, ended: false });
  },
  /** The API refused this token. An answer to an older token changes nothing.
   * @param {string} token */
  end(token) {
    if (token && token === state.get().token) {
      keptUser.set(userOf(token));
      keptToken.set(null);
      state.set({ token: "", ended: true });
    }
  },
  leave() {
    for (const kept of ofUser) kept.set(null);
    state.set({ token: "", ended: false });
  },
  /** Forgets what a module keeps in memory of a user who leaves. @param {() => void} forget */
  onLeave(forget) {
    state.subscribe(({ token, ended }) => {
      if (!token && !ended) forget();
    });
  },
};

/** The key of the image model, asked once in a tab. */
export const apiKey = key;
/** Set while a stand-in model paints sample pictures. */
export const practiceMode = practice;
/** Supabase's refresh token. */
export const refreshToken = keptRefresh;
