// Why a picture is missing, in one plain sentence for each code of docs/errors.md.

/** @type {Record<string, string>} */
export const SENTENCES = {
  provider_rate_limited: "The provider was too busy for this one.",
  provider_unavailable: "The provider failed at every attempt.",
  provider_timeout: "The provider took too long.",
  no_image: "The model answered without a picture.",
  invalid_api_key: "The provider refused the API key.",
  quota_exhausted: "The key's quota for today is used up.",
  billing_required: "The key's account has no credit left.",
  provider_refuses_account: "The provider refuses the key's account.",
  invalid_request: "The provider refused these settings.",
  model_unavailable: "The model is not available to this key.",
  unknown_workflow_type: "The workflow is set up wrong. Tell your administrator.",
  prompt_blocked: "The provider blocked this prompt. Say it differently.",
  content_blocked: "The provider held the picture back. Say it differently.",
  recitation: "The picture was too close to an existing work.",
  invalid_image: "The provider sent a damaged picture.",
  reference_gone: "A reference image was deleted. Add it again.",
  no_budget: "The picture to reuse is gone, and this month's budget is used up.",
  api_key_unreadable: "The API key can no longer be read. Start a new batch with it.",
  cancelled: "The batch was cancelled.",
  deadline_exceeded: "The batch ran out of time.",
  not_finished: "We failed at this one. Try again.",
};

/** Outcomes that another prompt can change. */
const ABOUT_THE_PROMPT = new Set(["no_image", "invalid_request", "prompt_blocked", "content_blocked", "recitation", "invalid_image"]);

/** @param {string | null} code */
export function sentenceOf(code) {
  return SENTENCES[code ?? ""] ?? "This picture could not be painted.";
}

/** @param {string | null} code */
export function isAboutPrompt(code) {
  return ABOUT_THE_PROMPT.has(code ?? "");
}
