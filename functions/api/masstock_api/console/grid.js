// A list of tiles of which only those near the screen exist, so that ten thousand scroll smoothly.
import { html, useEffect, useLayoutEffect, useRef, useState } from "./preact.js";

const GAP = 16;
const OVERSCAN_ROWS = 2;
// A few pictures are large, but not larger than this.
const MOST_WIDTH = 440;
// While the screen scrolls fast, nobody asks for what flies by.
const REST_MS = 80;

/**
 * @param {object} props
 * @param {number} props.total
 * @param {number} props.ratio width divided by height of a picture
 * @param {number} [props.caption] height below the picture
 * @param {number} [props.least] width of the narrowest tile
 * @param {string} props.label
 * @param {(index: number) => any} props.tile
 * @param {(range: {from: number, to: number}) => void} [props.onRange]
 */
export function Grid({ total, ratio, caption = 50, least = 220, label, tile, onRange }) {
  const element = useRef(/** @type {HTMLElement | null} */ (null));
  const wanted = useRef(-1);
  const tell = useRef(onRange);
  tell.current = onRange;
  const [place, setPlace] = useState({ width: 0, top: 0, height: 0 });
  useLayoutEffect(() => {
    const box = element.current;
    if (!box) return undefined;
    let frame = 0;
    const look = () => {
      frame = 0;
      const { width, top } = box.getBoundingClientRect();
      setPlace((last) => (last.width === width && last.top === -top && last.height === innerHeight ? last : { width, top: -top, height: innerHeight }));
    };
    const soon = () => {
      frame ||= requestAnimationFrame(look);
    };
    look();
    const observer = new ResizeObserver(soon);
    observer.observe(box);
    observer.observe(document.body);
    addEventListener("scroll", soon, { passive: true });
    addEventListener("resize", soon);
    return () => {
      observer.disconnect();
      removeEventListener("scroll", soon);
      removeEventListener("resize", soon);
      cancelAnimationFrame(frame);
    };
  }, []);
  const fitting = Math.max(place.width < 480 ? 2 : 1, Math.floor((place.width + GAP) / (least + GAP)));
  const columns = Math.min(fitting, Math.max(total, Math.ceil((place.width + GAP) / (MOST_WIDTH + GAP))));
  const width = (place.width - GAP * (columns - 1)) / columns;
  const height = width / ratio + caption;
  const rows = Math.ceil(total / columns);
  const firstRow = Math.max(0, Math.floor(place.top / (height + GAP)) - OVERSCAN_ROWS);
  const lastRow = Math.min(rows, Math.ceil((place.top + place.height) / (height + GAP)) + OVERSCAN_ROWS);
  const from = firstRow * columns;
  const to = Math.min(total, Math.max(from, lastRow * columns));
  useEffect(() => {
    if (!place.width) return undefined;
    const timer = setTimeout(() => tell.current?.({ from, to: Math.max(from, to - 1) }), REST_MS);
    return () => clearTimeout(timer);
  }, [from, to, place.width > 0]);
  useLayoutEffect(() => {
    if (wanted.current < 0) return;
    const button = element.current?.querySelector(`[data-index="${wanted.current}"] .picture`);
    if (button instanceof HTMLElement) {
      button.focus();
      wanted.current = -1;
    }
  });
  const move = (/** @type {KeyboardEvent} */ event) => {
    const step = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: columns, ArrowUp: -columns, Home: -total, End: total }[event.key];
    const item = event.target instanceof Element ? event.target.closest("[data-index]") : null;
    if (!step || !item || event.target instanceof HTMLTextAreaElement) return;
    event.preventDefault();
    const next = Math.min(total - 1, Math.max(0, Number(item.getAttribute("data-index")) + step));
    wanted.current = next;
    const top = Math.floor(next / columns) * (height + GAP);
    const box = element.current?.getBoundingClientRect();
    if (box && (box.top + top < 80 || box.top + top + height > innerHeight - 80)) {
      scrollTo({ top: scrollY + box.top + top - innerHeight / 3 });
    }
    setPlace((last) => ({ ...last }));
  };
  const shown = [];
  if (place.width) {
    for (let index = from; index < to; index += 1) {
      const x = (index % columns) * (width + GAP);
      const y = Math.floor(index / columns) * (height + GAP);
      shown.push(html`<div key=${index} class="cell" role="listitem" aria-setsize=${total} aria-posinset=${index + 1} data-index=${index}
        style=${{ width: `${width}px`, height: `${height}px`, transform: `translate(${x}px, ${y}px)`, "--picture": `${width / ratio}px` }}>${tile(index)}</div>`);
    }
  }
  const wholeHeight = rows ? rows * (height + GAP) - GAP : 0;
  return html`<div class="grid" role="list" aria-label=${label} ref=${element} onKeyDown=${move} style=${{ height: `${Math.max(0, wholeHeight)}px` }}>${shown}</div>`;
}

/**
 * Width divided by height, within what a tile can show.
 * @param {string | null | undefined} ratio
 */
export function shapeOf(ratio) {
  const [width, height] = (ratio ?? "1:1").split(":").map(Number);
  return Math.min(1.8, Math.max(0.7, (width || 1) / (height || 1)));
}
