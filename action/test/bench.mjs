// One empty job with the action or without, measured: `node bench.mjs BINARY VARIANT`, as root. `cargo xtask bench action` runs it.
//
// VARIANT is JSON: `bare` for a job without the action, or `mode` and whether a daemon is `installed`. The job is a worker's process
// with one step that does nothing; a daemon that was there is started before and ended after what is measured.

import path from 'node:path';

import { Machine } from './support/job.mjs';

const [, , binary, variant] = process.argv;
const { bare, mode, installed } = JSON.parse(variant);
const machine = new Machine(path.resolve(binary));
let own;
try {
  if (installed) {
    await machine.install(mode);
  }
  const job = await machine.job({ bare, inputs: bare ? {} : { 'egress-policy': mode }, steps: [['true']] });
  own = job.session.own;
  if (!job.good || (!bare && job.outputs['effective-mode'] !== mode)) {
    throw new Error(`the job was not what it should be: ${JSON.stringify(job)}`);
  }
  const stages = Object.fromEntries(Object.entries(job.stages).map(([name, { milliseconds }]) => [name, milliseconds]));
  process.stdout.write(`${JSON.stringify({ whole: job.wall, ...stages })}\n`);
} finally {
  await machine.end([own]);
}
