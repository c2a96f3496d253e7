// Webhooks as they arrived, verified by npm's library for receivers.
//
//     node outside.mjs PACKAGES FOLDER
//
// PACKAGES holds node_modules, FOLDER the requests that the tests' receiver wrote down. Prints one JSON object: how many were
// verified, and what is wrong. The library reads JSON alone, so batches of lines are left to the other verifier.
import { readFileSync, readdirSync } from 'node:fs';
import { createRequire } from 'node:module';
import path from 'node:path';

const [packages, folder] = process.argv.slice(2);
const { Webhook } = createRequire(path.join(packages, 'index.js'))('standardwebhooks');
const hook = new Webhook('whsec_cnVubmVyLWFnZW50LXRlc3RzLXNpZ24tdGhpcw==');

function problem(body, headers) {
  try {
    hook.verify(body, headers);
    return undefined;
  } catch (error) {
    return `${headers['webhook-id']}: ${error.message}`;
  }
}

function isJson(body) {
  try {
    JSON.parse(body);
    return true;
  } catch {
    return false;
  }
}

const problems = [];
let received = 0;
let spoilt = 0;
for (const name of readdirSync(folder).filter((name) => name.endsWith('.headers'))) {
  const lines = readFileSync(path.join(folder, name), 'utf8').split('\n').filter(Boolean);
  const headers = Object.fromEntries(lines.map((line) => line.split(/: (.*)/s).slice(0, 2)));
  const body = readFileSync(path.join(folder, name.replace(/headers$/, 'body')), 'utf8');
  if (!headers['webhook-signature'] || !isJson(body)) continue;
  received += 1;
  const found = problem(body, headers);
  if (found) problems.push(found);
  for (const wrong of [[body.replace('{', '{ '), headers], [body, { ...headers, 'webhook-id': 'x' }]]) {
    if (problem(...wrong)) spoilt += 1;
    else problems.push('a spoilt request was accepted');
  }
}
if (received === 0 || spoilt !== 2 * received) problems.push('nothing was verified, or nothing refused');
console.log(JSON.stringify({ received, problems }));
