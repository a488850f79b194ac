#!/usr/bin/env bash
# Guess: A queue with a concurrency of 2 never has more than two tasks running, also if tasks run
#   into the queue's time limit.
# So: p-queue and Bottleneck give the place away when the time limit passes, but the task goes on:
#   JavaScript cannot stop it. Six slow tasks then run at the same time under a limit of two.
# Matters: The slower a provider answers, the more paid calls are open at once, exactly when it asks
#   for fewer. Pass an AbortSignal to the call and wait until the call has ended.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
echo '{"private": true}' > package.json
npm install --silent --no-audit --no-fund --ignore-scripts 'p-queue@9.3.5' 'bottleneck@2.19.5'

cat > run.mjs <<'EOF'
import { createRequire } from 'node:module';
import { setTimeout as sleep } from 'node:timers/promises';
import PQueue from 'p-queue';
import Bottleneck from 'bottleneck';

let failed = false;
function check(words, seen, expected) {
  console.log(`${words}\n    ${JSON.stringify(seen)}`);
  if (JSON.stringify(seen) !== JSON.stringify(expected)) {
    console.log(`    CHANGED. It was ${JSON.stringify(expected)}`);
    failed = true;
  }
}

const read = createRequire(import.meta.url);
const version = name => read(`./node_modules/${name}/package.json`).version;
console.log(`p-queue ${version('p-queue')}, Bottleneck ${version('bottleneck')}`);

// The most tasks that ran at once, of six that take 600 ms each.
async function mostAtOnce(add) {
  let running = 0;
  let most = 0;
  const task = async () => {
    running += 1;
    most = Math.max(most, running);
    await sleep(600);
    running -= 1;
  };
  await Promise.allSettled(Array.from({ length: 6 }, () => add(task)));
  await sleep(700);
  return most;
}

const patient = new PQueue({ concurrency: 2 });
check('p-queue, concurrency 2', await mostAtOnce(task => patient.add(task)), 2);
const hasty = new PQueue({ concurrency: 2, timeout: 100 });
check('p-queue, concurrency 2, timeout 100 ms', await mostAtOnce(task => hasty.add(task)), 6);
const bottleneck = new Bottleneck({ maxConcurrent: 2 });
check('Bottleneck, maxConcurrent 2, expiration 100 ms',
  await mostAtOnce(task => bottleneck.schedule({ expiration: 100 }, task)), 6);

process.exit(failed ? 1 : 0);
EOF
node run.mjs
