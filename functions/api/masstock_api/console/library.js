// All pictures of all batches, newest first, with a search for words of the prompts.
import { html, useEffect, useRef, useState } from "./preact.js";
import { call } from "./api.js";
import { ago } from "./format.js";
import { Grid } from "./grid.js";
import { Empty, Failure, Head, Loading } from "./parts.js";
import { Tile } from "./tile.js";
import { Viewer } from "./viewer.js";

const PAGE = 100;
const PAUSE_MS = 300;

/** @typedef {import("./types.js").Result} Result */

export default function Library() {
  const [search, setSearch] = useState("");
  const [words, setWords] = useState("");
  const [rows, setRows] = useState(/** @type {Result[] | null} */ (null));
  const [error, setError] = useState(/** @type {any} */ (null));
  // The viewer goes through the list in which it was opened.
  const [open, setOpen] = useState(/** @type {{position: number, rows: Result[]} | null} */ (null));
  const next = useRef({ cursor: /** @type {string | null} */ (null), isReading: false, words: "" });
  useEffect(() => {
    const timer = setTimeout(() => setWords(search.trim()), PAUSE_MS);
    return () => clearTimeout(timer);
  }, [search]);
  const read = async (/** @type {boolean} */ isFirst) => {
    const state = next.current;
    if (state.isReading && !isFirst) return;
    state.isReading = true;
    state.words = words;
    try {
      const query = { status: "completed", limit: PAGE, q: words, cursor: isFirst ? null : state.cursor };
      const page = await call("GET", "/v1/results", { query });
      if (state.words !== words) return;
      state.cursor = page.next_cursor;
      setRows((last) => (isFirst ? page.items : [...(last ?? []), ...page.items]));
      setError(null);
    } catch (problem) {
      if (state.words === words) setError(problem);
    } finally {
      if (state.words === words) state.isReading = false;
    }
  };
  useEffect(() => {
    read(true);
  }, [words]);
  const onRange = (/** @type {{to: number}} */ { to }) => {
    if (rows && next.current.cursor && to > rows.length - 40) read(false);
  };
  const tile = (/** @type {number} */ index) => {
    const row = rows?.[index];
    return row && html`<${Tile} result=${row} prompt="" number=${index + 1} note=${ago(row.created_at)} onOpen=${() => rows && setOpen({ position: index, rows })} />`;
  };
  return html`<${Head} title="Library" aside=${html`<input type="search" class="search" placeholder="Words of a prompt" aria-label="Search the library" maxlength="200"
      value=${search} onInput=${(/** @type {any} */ event) => setSearch(event.target.value)} />`} />
    ${error && html`<${Failure} error=${error} again=${() => read(true)} />`}
    ${!rows && !error && html`<${Loading} tall />`}
    ${rows?.length === 0 && (words
      ? html`<${Empty} title="No picture found"><p>No prompt has these words. Try fewer, or others.</p><//>`
      : html`<${Empty} title="No pictures yet"><p>Every picture that you paint is kept here.</p><p><a class="button primary" href="#/new">New batch</a></p><//>`)}
    ${rows && rows.length > 0 && html`<${Grid} key=${words} total=${rows.length} ratio=${1} caption=${66} label="Images" tile=${tile} onRange=${onRange} />`}
    ${open && html`<${Viewer} position=${open.position} total=${open.rows.length} resultOf=${(/** @type {number} */ index) => open.rows[index]} promptOf=${() => ""}
      onMove=${(/** @type {number} */ position) => setOpen({ ...open, position })} onClose=${() => setOpen(null)} isInLibrary />`}`;
}
