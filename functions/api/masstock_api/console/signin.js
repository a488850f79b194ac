// Sign-in where the installation has an issuer: Supabase by its REST API, any other by OpenID Connect
// (code flow with PKCE). Tokens never are in an address.
import { html, useState } from "./preact.js";
import { base64url, digestOf } from "./api.js";
import { Field, Notice } from "./parts.js";
import { SIGN_IN, claimsOf, refreshToken, session } from "./session.js";
import { replaceAddress, tabValue } from "./state.js";

const pending = tabValue("sign-in");

/**
 * @param {string} path
 * @param {object} body
 * @returns {Promise<any>}
 */
async function supabase(path, body) {
  const response = await fetch(`${SIGN_IN.supabase_url}${path}`, {
    method: "POST",
    headers: { apikey: SIGN_IN.supabase_key, "Content-Type": "application/json" },
    body: JSON.stringify(body),
  });
  const answer = await response.json().catch(() => ({}));
  if (!response.ok) throw new Error(answer.msg ?? answer.error_description ?? "The sign-in failed.");
  return answer;
}

/** @type {Promise<boolean> | null} */
let renewal = null;

/** Renews the expired token. Requests at the same time share one renewal. Answers false without a new token. */
export function renew() {
  renewal ??= renewed().finally(() => {
    renewal = null;
  });
  return renewal;
}

/** @returns {Promise<boolean>} */
async function renewed() {
  const refresh = refreshToken.get();
  if (!refresh || !SIGN_IN.supabase_url) return false;
  try {
    const answer = await supabase("/token?grant_type=refresh_token", { refresh_token: refresh });
    session.begin(answer.access_token, answer.refresh_token);
    return true;
  } catch {
    return false;
  }
}

/** E-mail with a password, or with a six-digit code. */
export function SupabaseSignIn() {
  const [email, setEmail] = useState("");
  const [secret, setSecret] = useState("");
  const [isCode, setCode] = useState(false);
  const [isSent, setSent] = useState(false);
  const [problem, setProblem] = useState("");
  const [isBusy, setBusy] = useState(false);
  const attempt = async (/** @type {() => Promise<unknown>} */ act) => {
    setProblem("");
    setBusy(true);
    try {
      await act();
    } catch (error) {
      setProblem(/** @type {Error} */ (error).message);
    } finally {
      setBusy(false);
    }
  };
  const begin = (/** @type {any} */ answer) => session.begin(answer.access_token, answer.refresh_token);
  const submit = (/** @type {Event} */ event) => {
    event.preventDefault();
    attempt(async () => {
      if (!isCode) begin(await supabase("/token?grant_type=password", { email, password: secret }));
      else if (isSent) begin(await supabase("/verify", { type: "email", email, token: secret.trim() }));
      else {
        await supabase("/otp", { email, create_user: false });
        setSent(true);
      }
    });
  };
  const change = () => {
    setCode(!isCode);
    setSent(false);
    setSecret("");
    setProblem("");
  };
  return html`<form onSubmit=${submit}>
    <${Field} label="E-mail"><input type="email" required autocomplete="username" value=${email} disabled=${isSent}
      onInput=${(/** @type {any} */ event) => setEmail(event.target.value)} /><//>
    ${!isCode && html`<${Field} label="Password"><input type="password" required autocomplete="current-password" value=${secret}
      onInput=${(/** @type {any} */ event) => setSecret(event.target.value)} /><//>`}
    ${isCode && isSent && html`<${Field} label="Code" hint="Six digits, in the e-mail that was just sent."><input inputmode="numeric" autocomplete="one-time-code" required maxlength="8"
      value=${secret} onInput=${(/** @type {any} */ event) => setSecret(event.target.value)} /><//>`}
    ${problem && html`<${Notice} kind="bad">${problem}<//>`}
    <button class="button primary big" disabled=${isBusy}>${isCode && !isSent ? "Send me a code" : "Enter"}</button>
    <button type="button" class="link" disabled=${isBusy} onClick=${change}>${isCode ? "Use my password" : "Get a code by e-mail instead"}</button>
  </form>`;
}

/** Leaves for the issuer's page. */
export function OpenIdSignIn() {
  const [problem, setProblem] = useState("");
  const leave = async () => {
    setProblem("");
    try {
      const verifier = randomText();
      const state = randomText();
      const { authorization_endpoint: endpoint } = await discover();
      pending.set(JSON.stringify({ verifier, state, hash: location.hash }));
      const query = new URLSearchParams({
        response_type: "code",
        client_id: SIGN_IN.client_id,
        redirect_uri: `${location.origin}/`,
        scope: "openid email profile",
        state,
        code_challenge: await digestOf(verifier),
        code_challenge_method: "S256",
      });
      location.assign(`${endpoint}?${query}`);
    } catch {
      setProblem("The sign-in page cannot be reached.");
    }
  };
  return html`${problem && html`<${Notice} kind="bad">${problem}<//>`}<button class="button primary big" onClick=${leave}>Sign in</button>`;
}

/**
 * Finishes a sign-in that comes back from the issuer. Answers what went wrong, "" for nothing.
 * @returns {Promise<string>}
 */
export async function finishOpenId() {
  const query = new URLSearchParams(location.search);
  const kept = JSON.parse(pending.get() ?? "null");
  pending.set(null);
  replaceAddress(kept?.hash ?? "");
  const code = query.get("code");
  if (!code || !kept || query.get("state") !== kept.state) {
    return query.get("error_description") ?? "The sign-in was not finished. Try again.";
  }
  try {
    const { token_endpoint: endpoint } = await discover();
    const response = await fetch(endpoint, {
      method: "POST",
      body: new URLSearchParams({
        grant_type: "authorization_code",
        code,
        client_id: SIGN_IN.client_id,
        redirect_uri: `${location.origin}/`,
        code_verifier: kept.verifier,
      }),
    });
    const answer = await response.json();
    if (!response.ok) return answer.error_description ?? "The issuer refused the sign-in.";
    // The API verifies the audience; an issuer may put it into either token.
    const fitting = [answer.access_token, answer.id_token].find((token) => [claimsOf(token).aud].flat().includes(SIGN_IN.audience));
    session.begin(fitting ?? answer.access_token ?? answer.id_token);
    return "";
  } catch {
    return "The issuer cannot be reached.";
  }
}

/** @returns {Promise<{authorization_endpoint: string, token_endpoint: string}>} */
async function discover() {
  const answer = await fetch(`${SIGN_IN.issuer.replace(/\/$/, "")}/.well-known/openid-configuration`);
  return answer.json();
}

function randomText() {
  return base64url(crypto.getRandomValues(new Uint8Array(32)));
}
