// Calls of the model over connections that stay open, for the programs of this directory.

import http from "node:http";
import Redis from "ioredis";

const { MODEL_URL, REDIS_URL } = process.env;
const URL = `${MODEL_URL}/v1beta/models/gemini-2.5-flash-image:generateContent`;
const HEADERS = { "Content-Type": "application/json", "x-goog-api-key": "the-stand-in-takes-any-key" };
const agent = new http.Agent({ keepAlive: true, maxSockets: 64 });

// A finished or failed job leaves nothing in Redis.
export const TIDY = { removeOnComplete: true, removeOnFail: true };

export const connection = () => new Redis(REDIS_URL, { maxRetriesPerRequest: null });

export function send(method, url, headers, body) {
  return new Promise((resolve, reject) => {
    const request = http.request(url, { method, headers, agent }, (response) => {
      const chunks = [];
      response.on("data", (chunk) => chunks.push(chunk));
      response.on("end", () => {
        resolve({ status: response.statusCode, content: Buffer.concat(chunks) });
      });
    });
    request.on("error", reject);
    request.end(body);
  });
}

export function check({ status, content }) {
  if (status !== 200) throw new Error(`the answer has status ${status}`);
  return content;
}

export function callModel(number, batch) {
  const parts = [{ text: `prompt number ${number} of ${batch}` }];
  const ask = { contents: [{ role: "user", parts }], generationConfig: { responseModalities: ["IMAGE"] } };
  return send("POST", URL, HEADERS, JSON.stringify(ask));
}

export function imageOf(content) {
  const answer = JSON.parse(content);
  return Buffer.from(answer.candidates[0].content.parts[0].inlineData.data, "base64");
}
