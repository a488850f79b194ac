// Signs a user in with Supabase, paints a batch, and watches it.
import { createClient } from "@supabase/supabase-js";
import { connect, results, submit, wait } from "./masstock.ts";

const supabase = createClient("https://PROJECT.supabase.co", "the publishable key");

/** The library refreshes the token before it expires, so ask for it before each request. */
async function token(): Promise<string> {
  const { data } = await supabase.auth.getSession();
  if (data.session === null) throw new Error("Sign in first.");
  return data.session.access_token;
}

export async function paint(workflow: string, prompts: string[], key: string): Promise<string[]> {
  const api = connect("https://api.example.com", token);
  const { id } = await submit(api, { workflow_id: workflow, prompts, api_key: key });
  await wait(api, id, ({ progress }) => console.log(`${progress.successful} of ${progress.total}`));
  return (await results(api, id)).flatMap(({ result_url }) => result_url ?? []);
}

/** Calls `look` when a result of the execution changes; see "Realtime" in docs/frontend.md. */
export function watch(executionId: string, look: () => void): void {
  const filter = `execution_id=eq.${executionId}`;
  supabase
    .channel(executionId)
    .on("postgres_changes", { event: "UPDATE", schema: "public", table: "workflow_batch_results", filter }, look)
    .subscribe();
}
