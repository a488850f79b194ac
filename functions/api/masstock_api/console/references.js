// Reference images of the draft: dropped, picked or pasted, each with its upload bar.
import { html, useEffect, useRef, useState } from "./preact.js";
import { addReferences, dropReference } from "./uploads.js";

/** @param {{pictures: import("./draft.js").Reference[], most: number}} props */
export function References({ pictures, most }) {
  const [isOver, setOver] = useState(false);
  const picker = useRef(/** @type {HTMLInputElement | null} */ (null));
  useEffect(() => {
    const paste = (/** @type {ClipboardEvent} */ event) => {
      const files = [...(event.clipboardData?.files ?? [])].filter((file) => file.type.startsWith("image/"));
      if (files.length) addReferences(files, most);
    };
    addEventListener("paste", paste);
    return () => removeEventListener("paste", paste);
  }, [most]);
  const drop = (/** @type {DragEvent} */ event) => {
    event.preventDefault();
    setOver(false);
    addReferences([...(event.dataTransfer?.files ?? [])], most);
  };
  return html`<section class=${isOver ? "references over" : "references"} aria-label="Reference images" onDrop=${drop}
      onDragLeave=${() => setOver(false)} onDragOver=${(/** @type {Event} */ event) => { event.preventDefault(); setOver(true); }}>
    ${pictures.map((one) => html`<figure key=${one.id} class=${one.error ? "failed" : ""}>
      ${one.preview ? html`<img src=${one.preview} alt=${one.name} />` : html`<span class="blank"></span>`}
      ${!one.key && !one.error && html`<progress max="1" value=${one.done} aria-label=${`Uploading ${one.name}`}></progress>`}
      ${one.error && html`<figcaption>${one.error}</figcaption>`}
      <button class="icon" aria-label=${`Remove ${one.name}`} onClick=${() => dropReference(one.id)}>✕</button></figure>`)}
    ${pictures.length < most && html`<button class="add" onClick=${() => picker.current?.click()}>
      <b>+</b><span>${pictures.length ? "Add" : "Reference images"}</span><small>${pictures.length ? "" : "drop, paste or choose"}</small></button>`}
    <input ref=${picker} type="file" hidden multiple accept="image/png,image/jpeg,image/webp"
      onChange=${(/** @type {any} */ event) => { addReferences([...event.target.files], most); event.target.value = ""; }} />
  </section>`;
}
