#!/usr/bin/env bash
# Guess: supabase-js reports a 404 as an error.
# So: A 404 without a body is turned into status 204 without an error, and a 404 with the body []
#   into status 200 with no rows. A HEAD request, which counts rows, has no body at all: every 404
#   is a success with count null.
# Matters: A wrong base URL behind a gateway, a table without rights or a missing view looks like an
#   empty table. A count of null must be taken as an error.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
echo '{"private": true}' > package.json
npm install --silent --no-audit --no-fund --ignore-scripts '@supabase/postgrest-js@2.109.0'

cat > run.mjs <<'EOF'
import http from 'node:http';
import { readFileSync } from 'node:fs';
import { PostgrestClient } from '@supabase/postgrest-js';

let failed = false;
function check(words, seen, expected) {
  console.log(`${words}\n    ${JSON.stringify(seen)}`);
  if (JSON.stringify(seen) !== JSON.stringify(expected)) {
    console.log(`    CHANGED. It was ${JSON.stringify(expected)}`);
    failed = true;
  }
}

const { version } = JSON.parse(readFileSync('node_modules/@supabase/postgrest-js/package.json'));
console.log(`postgrest-js ${version}, the part of supabase-js that reads tables`);
let body = '';
const server = http.createServer((request, response) => {
  response.writeHead(404, { 'Content-Type': 'application/json' });
  response.end(body);
});
await new Promise(resolve => server.listen(0, '127.0.0.1', resolve));
const client = new PostgrestClient(`http://127.0.0.1:${server.address().port}`);

async function read(content, options) {
  body = content;
  const { data, error, status, count } = await client.from('results').select('*', options);
  return { data, error: error && 'error', status, count };
}

check('404 with a message', await read('{"message":"no table"}'), { data: null, error: 'error', status: 404, count: null });
check('404 without a body', await read(''), { data: null, error: null, status: 204, count: null });
check('404 with the body []', await read('[]'), { data: [], error: null, status: 200, count: null });
check('404 for a count with HEAD', await read('{"message":"no table"}', { count: 'exact', head: true }),
  { data: null, error: null, status: 204, count: null });

process.exit(failed ? 1 : 0);
EOF
node run.mjs
