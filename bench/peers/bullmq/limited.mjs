// A paced batch on BullMQ: a worker with `limiter`, which also pauses after each refusal.
//
// `node limited.mjs work` runs the worker. `node limited.mjs submit` reads lines `NAME paint NUMBER`
// from stdin and submits a batch for each.

import readline from "node:readline";
import { Queue, Worker } from "bullmq";
import { TIDY, callModel, check, connection, imageOf } from "./model.mjs";

const { LIMIT_REQUESTS, LIMIT_SECONDS } = process.env;
const USUAL_WAIT_SECONDS = 1;
const queue = new Queue("limited", { connection: connection() });

function waitOf(refusal) {
  const hint = (JSON.parse(refusal).error.details ?? []).find((detail) => detail.retryDelay);
  return hint ? parseFloat(hint.retryDelay) : USUAL_WAIT_SECONDS;
}

async function paint({ batch, number }) {
  const answer = await callModel(number, batch);
  if (answer.status === 429) {
    await queue.rateLimit(Math.ceil(waitOf(answer.content) * 1000));
    throw Worker.RateLimitError();
  }
  imageOf(check(answer));
}

function work() {
  new Worker("limited", (job) => paint(job.data), {
    connection: connection(),
    concurrency: 20,
    limiter: { max: Number(LIMIT_REQUESTS), duration: Number(LIMIT_SECONDS) * 1000 },
  });
}

async function submit() {
  for await (const line of readline.createInterface({ input: process.stdin })) {
    const [batch, name, count] = line.split(" ");
    await queue.addBulk(
      Array.from({ length: Number(count) }, (_, number) => ({ name, data: { batch, number }, opts: TIDY })),
    );
  }
}

await (process.argv[2] === "work" ? work() : submit());
