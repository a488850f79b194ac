// A batch on BullMQ: a flow of child jobs with the aggregate as their parent.
//
// `node batch.mjs work` runs the worker. `node batch.mjs` reads lines `NAME TASK NUMBER` from stdin.
// For each it submits a batch and writes the seconds until the parent job was completed.

import readline from "node:readline";
import { FlowProducer, QueueEvents, Worker } from "bullmq";
import { TIDY, callModel, check, connection, imageOf, send } from "./model.mjs";

const { BUCKET_URL } = process.env;

async function paint({ batch, number }) {
  const image = imageOf(check(await callModel(number, "a batch")));
  const headers = { "Content-Type": "image/png", "Content-Length": image.length };
  check(await send("PUT", `${BUCKET_URL}/${batch}/${number}.png`, headers, image));
}

async function work() {
  const tasks = { paint, nothing: async () => {} };
  new Worker("tasks", (job) => tasks[job.name](job.data), { connection: connection(), concurrency: 20 });
  new Worker("batches", async () => 1, { connection: connection() });
}

async function submit() {
  const flows = new FlowProducer({ connection: connection() });
  const events = new QueueEvents("batches", { connection: connection() });
  await events.waitUntilReady();
  for await (const line of readline.createInterface({ input: process.stdin })) {
    const [batch, name, count] = line.split(" ");
    const began = performance.now();
    const children = Array.from({ length: Number(count) }, (_, number) => ({
      name, queueName: "tasks", data: { batch, number }, opts: TIDY,
    }));
    const ended = new Promise((resolve) => events.once("completed", resolve));
    await flows.add({ name: "count", queueName: "batches", data: { batch }, children, opts: TIDY });
    await ended;
    console.log((performance.now() - began) / 1000);
  }
}

await (process.argv[2] === "work" ? work() : submit());
