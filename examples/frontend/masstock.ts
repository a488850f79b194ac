// Paints a batch, from a web page or from Node. docs/frontend.md explains it.
import createClient, { type Client } from "openapi-fetch";
import type { components, paths } from "./schema";

export type Api = Client<paths>;
export type Execution = components["schemas"]["Execution"];
export type Result = components["schemas"]["BatchResult"];

/** The API as one user. `token` returns the user's present access token. */
export function connect(baseUrl: string, token: () => Promise<string>): Api {
  const api = createClient<paths>({ baseUrl });
  api.use({
    async onRequest({ request }) {
      request.headers.set("Authorization", `Bearer ${await token()}`);
      return request;
    },
  });
  return api;
}

function found<T>(answer: { data?: T; error?: unknown }): T {
  if (answer.data === undefined) throw new Error(JSON.stringify(answer.error));
  return answer.data;
}

export async function submit(api: Api, body: components["schemas"]["ExecutionCreate"]): Promise<Execution> {
  // A repetition of this call with the same key makes no second execution.
  const header = { "Idempotency-Key": crypto.randomUUID() };
  const made = found(await api.POST("/v1/executions", { body, params: { header } }));
  if ("dry_run" in made) throw new Error("This was a dry run.");
  return made;
}

/** Looks at the execution until it has ended. Answers without news are a 304 without a body. */
export async function wait(api: Api, id: string, show: (seen: Execution) => void): Promise<Execution> {
  for (let etag: string | undefined; ; ) {
    const params = { path: { execution_id: id }, header: etag === undefined ? {} : { "If-None-Match": etag } };
    const answer = await api.GET("/v1/executions/{execution_id}", { params });
    if (answer.response.status !== 304) {
      const seen = found(answer);
      show(seen);
      if (seen.status === "completed" || seen.status === "failed") return seen;
      etag = answer.response.headers.get("ETag") ?? undefined;
    }
    const seconds = Number(answer.response.headers.get("Retry-After") ?? 2);
    await new Promise((awake) => setTimeout(awake, seconds * 1000));
  }
}

/** Every result, page by page. `result_url` of an image needs no token: use it in <img src>. */
export async function results(api: Api, id: string): Promise<Result[]> {
  const items: Result[] = [];
  for (let cursor: string | undefined; ; ) {
    const params = { path: { execution_id: id }, query: { limit: 200, ...(cursor === undefined ? {} : { cursor }) } };
    const page = found(await api.GET("/v1/executions/{execution_id}/results", { params }));
    items.push(...page.items);
    if (page.next_cursor === null) return items;
    cursor = page.next_cursor;
  }
}
