// A batch on BullMQ: a flow of child jobs with the aggregate as their parent.
//
// `node batch.mjs work` runs the worker. `node batch.mjs` reads lines `NAME TASK NUMBER` from stdin.
// For each it submits a batch and writes the seconds until the parent job was completed.

import http from "node:http";
import readline from "node:readline";
import { FlowProducer, QueueEvents, Worker } from "bullmq";
import Redis from "ioredis";

const { REDIS_URL, MODEL_URL, BUCKET_URL } = process.env;
const MODEL = `${MODEL_URL}/v1beta/models/gemini-2.5-flash-image:generateContent`;
const HEADERS = { "Content-Type": "application/json", "x-goog-api-key": "the-stand-in-takes-any-key" };
const TIDY = { removeOnComplete: true, removeOnFail: true };
const agent = new http.Agent({ keepAlive: true, maxSockets: 64 });
const connection = () => new Redis(REDIS_URL, { maxRetriesPerRequest: null });

function send(method, url, headers, body) {
  return new Promise((resolve, reject) => {
    const request = http.request(url, { method, headers, agent }, (response) => {
      const chunks = [];
      response.on("data", (chunk) => chunks.push(chunk));
      response.on("end", () => {
        if (response.statusCode === 200) resolve(Buffer.concat(chunks));
        else reject(new Error(`${method} ${url}: ${response.statusCode}`));
      });
    });
    request.on("error", reject);
    request.end(body);
  });
}

async function paint({ batch, number }) {
  const parts = [{ text: `prompt number ${number} of a batch` }];
  const ask = { contents: [{ role: "user", parts }], generationConfig: { responseModalities: ["IMAGE"] } };
  const answer = JSON.parse(await send("POST", MODEL, HEADERS, JSON.stringify(ask)));
  const image = Buffer.from(answer.candidates[0].content.parts[0].inlineData.data, "base64");
  const headers = { "Content-Type": "image/png", "Content-Length": image.length };
  await send("PUT", `${BUCKET_URL}/${batch}/${number}.png`, headers, image);
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
