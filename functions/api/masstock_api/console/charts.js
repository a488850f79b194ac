// Bars, drawn with boxes.
import { html } from "./preact.js";

/**
 * @param {object} props
 * @param {string} props.label
 * @param {{name: string, value: number, text: string, part?: number}[]} props.bars `part` of the value is drawn paler
 */
export function Columns({ label, bars }) {
  const most = Math.max(...bars.map((bar) => bar.value), 1);
  return html`<div class="columns" role="img" aria-label=${`${label}: ${bars.map((bar) => `${bar.name} ${bar.text}`).join(", ")}`}>
    ${bars.map((bar) => html`<div key=${bar.name} class="column"><small>${bar.text}</small>
      <span style=${{ height: `${Math.max(2, (bar.value / most) * 160)}px` }}></span><small>${bar.name}</small></div>`)}</div>`;
}

/**
 * @param {object} props
 * @param {string} props.label
 * @param {{name: string, value: number, text: string, part?: number}[]} props.bars
 */
export function Bars({ label, bars }) {
  const most = Math.max(...bars.map((bar) => bar.value), 1);
  return html`<div class="bars" role="img" aria-label=${`${label}: ${bars.map((bar) => `${bar.name} ${bar.text}`).join(", ")}`}>
    ${bars.map((bar) => html`<div key=${bar.name}><b>${bar.name}</b><span><i style=${{ width: `${(bar.value / most) * 100}%` }}><em style=${{ width: `${bar.value ? ((bar.part ?? bar.value) / bar.value) * 100 : 0}%` }}></em></i></span><small>${bar.text}</small></div>`)}</div>`;
}
