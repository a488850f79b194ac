// Prints name and SHA-256 of each entry of a ZIP file, as fflate reads it whole and as a stream.
import { createHash } from "node:crypto";
import { createReadStream, readFileSync } from "node:fs";
import { Unzip, UnzipPassThrough, unzipSync } from "fflate";

const path = process.argv[2];
const digest = (content) => createHash("sha256").update(content).digest("hex");
const whole = Object.entries(unzipSync(readFileSync(path))).map(([name, content]) => [name, digest(content)]);

const streamed = [];
const unzip = new Unzip((file) => {
  const hash = createHash("sha256");
  file.ondata = (error, chunk, final) => {
    if (error) throw error;
    hash.update(chunk);
    if (final) streamed.push([file.name, hash.digest("hex")]);
  };
  file.start();
});
unzip.register(UnzipPassThrough);
for await (const chunk of createReadStream(path)) unzip.push(chunk);
unzip.push(new Uint8Array(0), true);

console.log(JSON.stringify({ whole, streamed }));
