// Paints two prompts, retries the one that failed, and downloads both images.
import { readFileSync } from "node:fs";
import { connect, results, submit, wait } from "./masstock.ts";

const { baseUrl, token, submission } = JSON.parse(readFileSync(0, "utf8"));
const api = connect(baseUrl, async () => token);
const { id } = await submit(api, submission);
const seen: string[] = [];
const first = await wait(api, id, ({ status }) => seen.push(status));
const params = { path: { execution_id: id } };
await api.POST("/v1/executions/{execution_id}/retry", { params, body: { only_retryable: false } });
const second = await wait(api, id, () => {});
const images = (await results(api, id)).map(async (result) => {
  const image = await fetch(result.result_url ?? "");
  return { prompt: result.prompt_text, type: image.headers.get("Content-Type"), bytes: (await image.arrayBuffer()).byteLength };
});
const refused = await api.GET("/v1/executions/{execution_id}", { params: { path: { execution_id: crypto.randomUUID() } } });
console.log(
  JSON.stringify({
    seen: seen.at(-1),
    outputs: [first.output_data, second.output_data],
    images: await Promise.all(images),
    problem: refused.error,
  }),
);
