#!/usr/bin/env bash
# Guess: X-Content-Type-Options: nosniff concerns scripts and style sheets. An <img> shows a PNG
#   whatever its Content-Type is.
# So: Chromium does so for an image of the page's own origin. For an image of another origin with
#   nosniff it refuses text/plain, text/html and application/json, and shows
#   application/octet-stream. The page gets an error event and no reason.
# Matters: A store that adds nosniff, and an upload that got the type text/plain, give broken tiles
#   in a gallery on another origin, although the right bytes arrive. A test page on the store's own
#   origin shows them.
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

const answer = (request, response) => {
  const query = new URL(request.url, 'http://localhost').searchParams;
  response.setHeader('Content-Type', query.get('type') ?? 'text/html');
  if (query.get('options')) response.setHeader('X-Content-Type-Options', query.get('options'));
  response.end(query.has('type') ? pixel : '<!doctype html><title>page</title>');
};
const port = await serve(answer);
const args = chromium.args.filter(arg => arg !== '--disable-web-security');
const browser = await playwright.launch({ executablePath, args, headless: true });
console.log(`Chromium ${browser.version()}`);
const tab = await browser.newPage();
await tab.goto(`http://127.0.0.1:${port}/`);

async function show(host, options) {
  const seen = {};
  for (const type of ['text/plain', 'text/html', 'application/json', 'application/octet-stream']) {
    const url = `http://${host}:${port}/1.png?type=${type}&options=${options}`;
    seen[type] = await tab.evaluate(address => new Promise(resolve => {
      const image = new Image();
      image.onload = () => resolve('shown');
      image.onerror = () => resolve('error');
      image.src = address;
    }), url);
  }
  return seen;
}

const all = { 'text/plain': 'shown', 'text/html': 'shown', 'application/json': 'shown', 'application/octet-stream': 'shown' };
check('another origin, without nosniff', await show('localhost', ''), all);
check('the same origin, with nosniff', await show('127.0.0.1', 'nosniff'), all);
check('another origin, with nosniff', await show('localhost', 'nosniff'),
  { 'text/plain': 'error', 'text/html': 'error', 'application/json': 'error', 'application/octet-stream': 'shown' });
await browser.close();

process.exit(failed ? 1 : 0);
EOF
node run.mjs
