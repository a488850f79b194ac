// What the API answers, as far as the console reads it. docs/openapi.json has all of it. Members of
// newer releases may be absent.
export interface Progress {
  total: number;
  successful: number;
  failed: number;
  processing: number;
  waiting?: number;
  submitted?: number;
  painted_by_provider?: number;
  paused?: number;
}

export interface Execution {
  id: string;
  workflow_id: string;
  client_id: string;
  status: "pending" | "processing" | "completed" | "failed";
  name?: string | null;
  tier?: "standard" | "economy";
  model: string | null;
  image_size: string;
  images_per_prompt?: number;
  cover_url?: string | null;
  workflow_name: string | null;
  client_name: string | null;
  user_name: string | null;
  prompt_count: number;
  estimate_microusd: number | null;
  cost_microusd: number | null;
  error_code: string | null;
  error_message: string | null;
  created_at: string;
  completed_at: string | null;
  duration_seconds: number | null;
  output_data: { total: number; successful: number; failed: number } | null;
  progress?: Progress;
  pace?: { limited_by: string; images_per_minute: number | null; opens_at: string | null; expected_end_at: string | null };
  input_data?: {
    prompts?: (string | { prompt: string; custom_id?: string | null })[];
    aspect_ratio?: string | null;
    image_size?: string | null;
    reference_images?: string[];
    [name: string]: unknown;
  };
}

export interface Result {
  id: string;
  execution_id: string;
  batch_index: number;
  prompt_text: string;
  original_prompt?: string | null;
  custom_id: string | null;
  status: "processing" | "completed" | "failed";
  result_url: string | null;
  thumbnail_url?: string | null;
  url_expires_at?: string | null;
  error_code: string | null;
  error_message: string | null;
  provider_message: string | null;
  retryable: boolean | null;
  mime_type: string | null;
  size_bytes: number | null;
  image_sha256: string | null;
  cost_microusd: number | null;
  model: string | null;
  width: number | null;
  height: number | null;
  as_asked: boolean | null;
  seed?: number | null;
  created_at: string;
  completed_at: string | null;
  [name: string]: unknown;
}
