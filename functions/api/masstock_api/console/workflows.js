// Administrators: workflows, with a form for the config and the catalogue's models and prices.
import { html, useState } from "./preact.js";
import { all, call } from "./api.js";
import { count, money } from "./format.js";
import { Empty, Failure, Head, Loading, useLoaded } from "./parts.js";
import { FormDialog } from "./table.js";

export default function Workflows() {
  const { data, error, again } = useLoaded(() => Promise.all([all("/v1/workflows"), call("GET", "/v1/models")]), []);
  const [editing, setEditing] = useState(/** @type {any} */ (null));
  const [workflows, models] = data ? [data[0], data[1].items] : [null, []];
  const save = async (/** @type {any} */ values, /** @type {string} */ key) => {
    const body = { name: values.name, description: values.description || null, status: values.status, config: configOf(values, editing.config ?? {}) };
    if (editing.id) await call("PATCH", `/v1/workflows/${editing.id}`, { body });
    else await call("POST", "/v1/workflows", { body, key });
    again();
  };
  return html`<${Head} title="Workflows" aside=${html`<button class="button primary" disabled=${!workflows} onClick=${() => setEditing({ status: "active", config: { requires_api_key: true, supports_reference_images: true } })}>New workflow</button>`} />
    ${error && html`<${Failure} error=${error} again=${again} />`}
    ${!workflows && !error && html`<${Loading} />`}
    ${workflows?.length === 0 && html`<${Empty} title="No workflows yet"><p>Nobody can paint before there is one.</p><//>`}
    <ul class="tiles">${workflows?.map((/** @type {any} */ one) => html`<li key=${one.id} class="card workflow">
      <div class="head-row"><h2>${one.name}</h2><span class=${`state ${one.status === "active" ? "good" : ""}`}>${one.status}</span></div>
      <p class="quiet">${one.description}</p>
      <dl class="facts-list">
        <div><dt>Model</dt><dd>${one.config.model}</dd></div>
        <div><dt>Price</dt><dd>${priceOf(models.find((/** @type {any} */ model) => model.model === one.config.model), one.config)}</dd></div>
        <div><dt>Prompts</dt><dd>up to ${count(one.config.max_prompts ?? 100)} at once</dd></div>
        <div><dt>API key</dt><dd>${one.config.requires_api_key ? "from the caller" : "the platform pays"}</dd></div></dl>
      <p class="row end"><button class="button small" aria-label=${`Change ${one.name}`} onClick=${() => setEditing(one)}>Change</button></p></li>`)}</ul>
    ${editing && html`<${FormDialog} title=${editing.id ? editing.name : "New workflow"} verb="Save" save=${save} onClose=${() => setEditing(null)}
      fields=${fieldsOf(models, editing.config.model)} values=${{ max_prompts: 100, ...editing.config, model: editing.config.model ?? models.find((/** @type {any} */ one) => !one.retired_on)?.model, name: editing.name, description: editing.description, status: editing.status }} />`}`;
}

/** @param {any} model @param {any} config */
function priceOf(model, config) {
  if (!model) return config.microusd_per_image ? `${money(config.microusd_per_image)} an image` : "unknown";
  return model.sizes.map((/** @type {any} */ one) => `${one.size} ${money(one.microusd)}`).join(", ");
}

/** @param {any[]} models @param {string | undefined} present @returns {import("./table.js").FormField[]} */
function fieldsOf(models, present) {
  const today = new Date().toISOString().slice(0, 10);
  const usable = models.filter((one) => !one.retired_on || one.retired_on > today);
  const choices = usable.map((one) => ({ value: one.model, text: `${one.model} · ${money(one.sizes[0]?.microusd)}${one.ends_on ? ` · ends ${one.ends_on}` : ""}` }));
  // A workflow may name a model that the catalogue does not know, or a retired one.
  if (present && !choices.some((one) => one.value === present)) choices.push({ value: present, text: present });
  const ratios = [...new Set(models.flatMap((one) => one.aspect_ratios))];
  return [
    { name: "name", label: "Name" },
    { name: "description", label: "Description", type: "area", optional: true },
    { name: "model", label: "Model", type: "select", options: choices },
    { name: "fallback_model", label: "If the model is gone", type: "select", options: [{ value: "", text: "Fail" }, ...choices.map((one) => ({ ...one, text: `Go on with ${one.text}` }))] },
    { name: "aspect_ratio", label: "Usual shape", type: "select", options: [{ value: "", text: "The model's own" }, ...ratios.map((value) => ({ value, text: value }))] },
    { name: "image_size", label: "Usual size", type: "select", options: [{ value: "", text: "1K" }, { value: "2K", text: "2K" }, { value: "4K", text: "4K" }] },
    { name: "max_prompts", label: "Most prompts at once", type: "number", least: 1 },
    { name: "max_concurrency", label: "Most images painted at once", type: "number", least: 1, optional: true },
    { name: "requires_api_key", label: "Callers bring their own API key", type: "check" },
    { name: "supports_reference_images", label: "Takes reference images", type: "check" },
    { name: "status", label: "Status", type: "select", options: [{ value: "active", text: "Active" }, { value: "inactive", text: "Inactive: takes no new batch" }] },
  ];
}

/** Other members of the config stay as they are. @param {any} values @param {any} before */
function configOf(values, before) {
  const config = {
    ...before,
    workflow_type: before.workflow_type ?? "nano_banana",
    model: values.model,
    fallback_model: values.fallback_model || null,
    aspect_ratio: values.aspect_ratio || null,
    image_size: values.image_size || null,
    max_prompts: Number(values.max_prompts),
    max_concurrency: values.max_concurrency ? Number(values.max_concurrency) : null,
    requires_api_key: Boolean(values.requires_api_key),
    supports_reference_images: Boolean(values.supports_reference_images),
  };
  return Object.fromEntries(Object.entries(config).filter(([, value]) => value !== null));
}
