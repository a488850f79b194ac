#!/usr/bin/env bash
# Guess: Chromium started with the arguments that @sparticuz/chromium offers for it behaves as a
#   user's browser, without a window.
# So: The arguments switch the same-origin policy off (--disable-web-security). A page reads another
#   origin's answer that has no CORS header at all, and no Origin header is sent.
# Matters: A browser test of signed URLs is green with a bucket that has no CORS rule, and every
#   user's browser refuses it. Take the flag out of chromium.args.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
echo '{"private": true}' > package.json
npm install --silent --no-audit --no-fund --ignore-scripts '@sparticuz/chromium@147.0.0' 'playwright-core@1.65.1'
export TMPDIR="$work"

cat > run.mjs <<'EOF'
import http from 'node:http';
import chromium from '@sparticuz/chromium';
import { chromium as playwright } from 'playwright-core';

let failed = false;
function check(words, seen, expected) {
  console.log(`${words}\n    ${JSON.stringify(seen)}`);
  if (JSON.stringify(seen) !== JSON.stringify(expected)) {
    console.log(`    CHANGED. It was ${JSON.stringify(expected)}`);
    failed = true;
  }
}

// The browser comes inside the package. It is unpacked into TMPDIR.
const executablePath = await chromium.executablePath();
const png = 'iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==';
const pixel = Buffer.from(png, 'base64');

async function serve(answer) {
  const server = http.createServer(answer);
  await new Promise(resolve => server.listen(0, '127.0.0.1', resolve));
  return server.address().port;
}

const pages = await serve((request, response) => {
  response.writeHead(200, { 'Content-Type': 'text/html' });
  response.end('<!doctype html><title>page</title>');
});
const page = `http://127.0.0.1:${pages}/`;

const origins = [];
const images = await serve((request, response) => {
  origins.push(request.headers.origin ?? 'none');
  response.writeHead(200, { 'Content-Type': 'image/png' });
  response.end(pixel);
});
const image = `http://localhost:${images}/1.png`;

async function fetchImage(args) {
  const browser = await playwright.launch({ executablePath, args, headless: true });
  console.log(`Chromium ${browser.version()} of @sparticuz/chromium 147.0.0`);
  const tab = await browser.newPage();
  await tab.goto(page);
  const seen = await tab.evaluate(url => fetch(url).then(response => response.status, error => error.name), image);
  await browser.close();
  return [seen, origins.pop()];
}

console.log('Each line: the status or the error of fetch() on another origin without CORS headers, and the Origin it got.');
check('chromium.args as they come', await fetchImage(chromium.args), [200, 'none']);
const safe = chromium.args.filter(arg => arg !== '--disable-web-security');
check('without --disable-web-security', await fetchImage(safe), ['TypeError', page.slice(0, -1)]);

process.exit(failed ? 1 : 0);
EOF
node run.mjs
