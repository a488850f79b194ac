// Uploads of reference images and of long lists of prompts, straight to the bucket.
import { call, newKey } from "./api.js";
import { references } from "./draft.js";

const TYPES = new Set(["image/png", "image/jpeg", "image/webp"]);
const MOST_BYTES = 10 * 1024 * 1024;
let ids = 0;

/**
 * Uploads one file through the form that the API gives, and returns its key.
 * @param {Blob} content
 * @param {"reference_image" | "prompts"} kind
 * @param {string} type
 * @param {string | null} clientId named by administrators only
 * @param {(share: number) => void} [onProgress]
 * @returns {Promise<string>}
 */
export async function upload(content, kind, type, clientId, onProgress) {
  const body = { kind, content_type: type, ...(clientId && { client_id: clientId }) };
  const { url, fields, key } = await call("POST", "/v1/uploads", { body, key: newKey() });
  const form = new FormData();
  for (const [name, value] of Object.entries(fields)) form.append(name, String(value));
  form.append("file", content);
  // fetch cannot tell how far an upload is.
  await new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    request.upload.onprogress = (event) => event.lengthComputable && onProgress?.(event.loaded / event.total);
    request.onload = () => (request.status < 300 ? resolve(null) : reject(new Error("The upload was refused.")));
    request.onerror = () => reject(new Error("The upload broke off."));
    request.open("POST", url);
    request.send(form);
  });
  return key;
}

/**
 * Adds reference images to the draft and uploads them, with a bar for each.
 * @param {Iterable<File>} files
 * @param {number} most
 */
export function addReferences(files, most) {
  for (const file of files) {
    if (references.get().length >= most) return;
    ids += 1;
    const id = ids;
    const error = !TYPES.has(file.type)
      ? "Not a PNG, JPEG or WebP"
      : file.size > MOST_BYTES ? "Over 10 MB" : "";
    const preview = error ? "" : URL.createObjectURL(file);
    references.set([...references.get(), { id, name: file.name, preview, key: "", done: 0, error }]);
    if (error) continue;
    upload(file, "reference_image", file.type, null, (done) => amend(id, { done })).then(
      (key) => amend(id, { key, done: 1 }),
      (problem) => amend(id, { error: problem.message }),
    );
  }
}

/**
 * @param {number} id
 * @param {Partial<import("./draft.js").Reference>} part
 */
function amend(id, part) {
  references.set(references.get().map((one) => (one.id === id ? { ...one, ...part } : one)));
}

/** @param {number} id */
export function dropReference(id) {
  const gone = references.get().find((one) => one.id === id);
  if (gone?.preview) URL.revokeObjectURL(gone.preview);
  references.set(references.get().filter((one) => one.id !== id));
}
