// Images of a batch as a ZIP: asked for, watched while it is packed, and downloaded.
import { html, useState } from "./preact.js";
import { call, newKey, sleep } from "./api.js";
import { bytes, many } from "./format.js";
import { Dialog, Notice } from "./parts.js";
import { say } from "./state.js";

/**
 * @param {object} props
 * @param {string} props.id of the execution
 * @param {number[] | null} [props.indices] null for all images
 * @param {string} [props.kind]
 * @param {boolean} [props.disabled]
 */
export function Zip({ id, indices = null, kind = "", disabled = false }) {
  const [isBusy, setBusy] = useState(false);
  const [archive, setArchive] = useState(/** @type {any} */ (null));
  const run = async () => {
    setBusy(true);
    try {
      const ready = await packed(id, indices);
      if (ready.parts.length > 1) setArchive(ready);
      else {
        save(ready.parts[0].url);
        say(`Downloading ${many(ready.images, "image")}, ${bytes(ready.bytes)}.`);
      }
    } catch (error) {
      say(/** @type {Error} */ (error).message);
    } finally {
      setBusy(false);
    }
  };
  return html`<button class=${`button ${kind}`} disabled=${disabled || isBusy} aria-busy=${isBusy} onClick=${run}>${isBusy ? "Packing…" : "Download ZIP"}</button>
    ${archive && html`<${Dialog} title="Your ZIP is ready" onClose=${() => setArchive(null)}>
      <p>${many(archive.images, "image")}, ${bytes(archive.bytes)}, in ${many(archive.parts.length, "file")}.</p>
      <ul class="parts">${archive.parts.map((/** @type {any} */ part, /** @type {number} */ index) => html`<li key=${index}><a class="button" href=${part.url}>Part ${index + 1}<small class="quiet">${bytes(part.size_bytes)}</small></a></li>`)}</ul>
      <${Notice}>The links work for a while. After seven days the files are deleted; the images stay.<//>
    <//>`}`;
}

/** @param {string} id @param {number[] | null} indices */
async function packed(id, indices) {
  const path = `/v1/executions/${id}/archive`;
  let archive = await call("POST", path, { body: indices ? { indices } : {}, key: newKey() });
  while (archive.state === "building") {
    await sleep(1);
    archive = await call("GET", path);
  }
  if (archive.state !== "ready") throw new Error("The ZIP could not be packed. Try again.");
  return archive;
}

/** @param {string} url */
function save(url) {
  const link = document.createElement("a");
  link.href = url;
  link.rel = "noopener";
  link.download = "";
  link.click();
}
