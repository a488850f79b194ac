#!/usr/bin/env bash
# Guess: `const { data, error } = await client.GET(…); if (error) …` of openapi-fetch finds every
#   answer that is not a success.
# So: For a 502 without a body, `error` is undefined or an empty string, and for one with the body
#   null it is null. All of them count as false, so the code goes on, with undefined data. A 304
#   looks the same.
# Matters: A gateway that answers without a body during an outage looks like an empty success. Only
#   response.ok tells them apart.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
echo '{"private": true}' > package.json
npm install --silent --no-audit --no-fund --ignore-scripts 'openapi-fetch@0.17.0'

cat > run.mjs <<'EOF'
import http from 'node:http';
import { readFileSync } from 'node:fs';
import createClient from 'openapi-fetch';

let failed = false;
function check(words, seen, expected) {
  const text = (value) => JSON.stringify(value, (_, each) => each === undefined ? '(undefined)' : each);
  console.log(`${words}\n    ${text(seen)}`);
  if (text(seen) !== text(expected)) {
    console.log(`    CHANGED. It was ${text(expected)}`);
    failed = true;
  }
}

const { version } = JSON.parse(readFileSync('node_modules/openapi-fetch/package.json'));
console.log(`openapi-fetch ${version}`);
const ANSWERS = {
  '/problem': [502, { 'Content-Type': 'application/json' }, '{"code":"bad_gateway"}'],
  '/empty': [502, { 'Content-Length': '0' }, ''],
  '/chunked': [502, { 'Transfer-Encoding': 'chunked' }, ''],
  '/null': [502, { 'Content-Type': 'application/json' }, 'null'],
  '/unchanged': [304, { ETag: '"a"' }, ''],
};
const server = http.createServer((request, response) => {
  const [status, headers, body] = ANSWERS[request.url];
  response.writeHead(status, headers);
  response.end(body);
});
await new Promise(resolve => server.listen(0, '127.0.0.1', resolve));
const client = createClient({ baseUrl: `http://127.0.0.1:${server.address().port}` });

async function get(path) {
  const { data, error, response } = await client.GET(path);
  return [response.ok, data, error];
}

console.log('response.ok, data and error of:');
check('502 with a problem', await get('/problem'), [false, undefined, { code: 'bad_gateway' }]);
check('502 with Content-Length 0', await get('/empty'), [false, undefined, undefined]);
check('502, chunked, without a body', await get('/chunked'), [false, undefined, '']);
check('502 with the body null', await get('/null'), [false, undefined, null]);
check('304', await get('/unchanged'), [false, undefined, '']);

process.exit(failed ? 1 : 0);
EOF
node run.mjs
