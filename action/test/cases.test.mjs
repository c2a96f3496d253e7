// Whole jobs with a real binary, as a runner's worker runs them: both modes, passing and failing, with a daemon of the action's own and
// as the client of one that was there. Ends with a table of what came of each.
//
//   RUNNER_AGENT_BINARY=PATH node --test action/test/cases.test.mjs

import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import net from 'node:net';
import path from 'node:path';
import { after, before, test } from 'node:test';

import { beginning } from '../daemon.mjs';
import { run } from '../spawn.mjs';
import { Machine } from './support/job.mjs';
import { needsRoot } from './support/runner.mjs';

const binary = process.env.RUNNER_AGENT_BINARY && path.resolve(process.env.RUNNER_AGENT_BINARY);
const reason = binary ? needsRoot : 'RUNNER_AGENT_BINARY names no binary';
if (reason) {
  process.stdout.write(`skipped: whole jobs against a real binary: ${reason}\n`);
}
const skip = { skip: reason };

/** Nobody is there: what isn't refused before it leaves would be seen as another error, or as none. */
const OUT = 'exec 3<>/dev/tcp/203.0.113.7/443';
const refused = ['bash', '-c', `(${OUT}) 2>&1 | grep -o 'not permitted'`];
const reads = ['sh', '-c', 'echo made-up >"$GITHUB_WORKSPACE/cosign.key" && cat "$GITHUB_WORKSPACE/cosign.key"'];
const connects = (port) => ['bash', '-c', `exec 3<>/dev/tcp/127.0.0.1/${port} && echo connected`];

const CASES = [
  { mode: 'audit', what: 'connects to what is allowed', inputs: { 'fail-on': 'medium' }, steps: (port) => [connects(port)], said: /connected/, good: true },
  { mode: 'audit', what: 'reads a secret file, with fail-on: medium', inputs: { 'fail-on': 'medium' }, steps: () => [reads], said: /made-up/, good: false, because: /findings of severity medium/ },
  { mode: 'block', what: 'connects to what is allowed', inputs: {}, steps: (port) => [connects(port)], said: /connected/, good: true },
  { mode: 'block', what: 'is refused a connection', inputs: {}, steps: () => [refused], said: /not permitted/, good: false, because: /was refused \(`fail-on: denied`\)/ },
];

const rows = [];
let server;

before(async () => {
  server = net.createServer((client) => client.end()).listen(0, '127.0.0.1');
  await new Promise((resolve) => server.once('listening', resolve));
});

/** A log that is whole and has its receipt. */
async function proven(log) {
  const verified = await run([binary, 'verify', log]);
  assert.equal(verified.code, 0, verified.stdout + verified.stderr);
}

function told(where, { mode, what }, job) {
  const code = (stage) => job.stages[stage]?.code ?? '–';
  const { outputs } = job;
  rows.push([mode, where, what, code('pre'), code('main'), job.steps.map((step) => step.code).join(' ') || '–', code('post'), outputs['effective-mode'], outputs.verdict ?? '–', outputs.blocked ?? '–', job.good ? 'passed' : 'failed']);
}

for (const where of ['its own', 'was there']) {
  for (const one of CASES) {
    const { mode, what, inputs, steps, said, good, because } = one;
    test(`in mode ${mode}, with a daemon that ${where === 'its own' ? 'is the action\'s own' : 'was there'}, a job that ${what} ${good ? 'passes' : 'fails'}`, skip, async (t) => {
      const machine = new Machine(binary);
      let own;
      t.after(() => machine.end([own]));
      if (where === 'was there') {
        await machine.install(mode);
      }
      const job = await machine.job({ inputs: { 'egress-policy': mode, ...inputs }, steps: steps(server.address().port) });
      own = job.session.own;
      told(where, one, job);
      const { pre, main, post } = job.stages;
      const words = `${pre.text}${main?.text}${post.text}${job.steps.map((step) => step.text)}`;
      assert.deepEqual([pre.code, main.code, ...job.steps.map((step) => step.code)], [0, 0, 0], words);
      assert.match(job.steps[0].text, said);
      assert.equal(job.outputs['effective-mode'], mode);
      assert.equal(job.good, good, words);
      assert.equal(post.code, good ? 0 : 1, words);
      assert.equal(job.outputs.lost, '0');
      assert.equal(Number(job.outputs.blocked) > 0, mode === 'block' && !good, words);
      const errors = job.annotations.filter(({ name }) => name === 'error').map(({ data }) => data).join('\n');
      assert.match(errors, because ?? /^$/);
      assert.match(job.summary, new RegExp(`^## runner-agent: ${job.outputs.verdict}$`, 'm'));
      assert.equal(JSON.parse(readFileSync(job.outputs['report-path'], 'utf8')).job, job.outputs['job-id']);
      assert.equal(where === 'was there', own === undefined);
      assert.ok(!own || !beginning(own.pid), 'the daemon that was started has ended');
      await proven(job.outputs['log-path']);
    });
  }
}

test('asked for block where it can\'t begin, the step fails, no step of the job runs, and the last stage still tells', skip, async (t) => {
  const machine = new Machine(binary);
  t.after(() => machine.end());
  // A file where a folder has to be: no daemon can be started.
  writeFileSync(machine.state, '');
  const job = await machine.job({ inputs: { 'egress-policy': 'block' }, steps: [connects(server.address().port)] });
  told('none', { mode: 'block', what: 'asks for what can\'t begin' }, job);
  assert.deepEqual([job.stages.pre.code, job.stages.main, job.steps.length, job.good], [1, undefined, 0, false]);
  assert.equal(job.outputs['effective-mode'], 'none');
  assert.equal(job.stages.post.code, 0, job.stages.post.text);
});

after(() => {
  server.close();
  if (rows.length > 0) {
    const table = [['mode', 'daemon', 'a job that', 'pre', 'main', 'steps', 'post', 'effective-mode', 'verdict', 'refused', 'the job'], ...rows];
    const widths = table[0].map((_, at) => Math.max(...table.map((row) => String(row[at]).length)));
    const lines = table.map((row) => row.map((cell, at) => String(cell).padEnd(widths[at])).join('  ').trimEnd());
    process.stdout.write(`\n${lines.join('\n')}\n\n`);
  }
});
