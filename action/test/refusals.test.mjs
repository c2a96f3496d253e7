// What isn't started, and what isn't believed.

import assert from 'node:assert/strict';
import { chmodSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';

import { beginning } from '../daemon.mjs';
import { JOB, needsRoot, Runner } from './support/runner.mjs';

const withRoot = { skip: needsRoot };

test('a socket that anybody could have put there is not spoken to', withRoot, async (t) => {
  const runner = new Runner(t);
  const open = path.join(runner.folder, 'open');
  mkdirSync(open);
  chmodSync(open, 0o777);
  runner.socket = path.join(open, 'control.sock');
  await runner.listen();
  const main = await runner.run('main');
  assert.equal(main.code, 1);
  assert.match(main.errors, /no socket in a folder that only root can write to/);
  assert.deepEqual(runner.calls, []);
});

test('a socket that nobody answers at is no reason to start a daemon with less of a policy', withRoot, async (t) => {
  const runner = new Runner(t, { status: { code: 125, stderr: 'refused\n' } });
  await runner.listen();
  const main = await runner.run('main');
  assert.equal(main.code, 1);
  assert.match(main.errors, /no daemon answers \(ended with 125: refused\)/);
  assert.deepEqual(runner.calls, []);
});

test('asked for block and not armed in block fails the step', withRoot, async (t) => {
  const runner = new Runner(t, { start: { json: { ...JOB, mode: 'audit' } } });
  const main = await runner.run('main', { 'egress-policy': 'block' });
  assert.equal(main.code, 1);
  assert.match(main.errors, /asked for mode block, and the job runs in mode audit/);
  assert.equal(main.outputs['effective-mode'], 'audit');
  const post = await runner.run('post');
  assert.equal(runner.calls.at(-1).words[1], 'stop', 'what began is ended all the same');
  assert.equal(post.code, 0, post.stdout);
});

test('not armed: the step fails, or the job goes on with a loud warning where its workflow says so', withRoot, async (t) => {
  const answers = { start: { code: 125, stderr: 'not armed: no BTF\n' } };
  const strict = await new Runner(t, answers).run('main', { 'egress-policy': 'block' });
  assert.equal(strict.code, 1);
  assert.match(strict.errors, /not armed: ended with 125: not armed: no BTF; with `fail-on-unsupported: false`/);
  assert.equal(strict.outputs['effective-mode'], 'none');

  const runner = new Runner(t, answers);
  const inputs = { 'egress-policy': 'block', 'fail-on-unsupported': 'false' };
  const pre = await runner.run('pre', inputs);
  assert.equal(pre.code, 0, pre.stdout);
  assert.match(pre.warnings, /THIS JOB IS NOT WATCHED: not armed/);
  const main = await runner.run('main', inputs);
  assert.match(main.warnings, /THIS JOB IS NOT WATCHED/);
  assert.equal(main.outputs['effective-mode'], 'none');
  const { own } = runner.session;
  const post = await runner.run('post');
  assert.match(post.summary, /this job was not watched/);
  assert.ok(!beginning(own.pid), 'its daemon is stopped');
});

test('an agent that says it runs unwatched is not believed to be armed', withRoot, async (t) => {
  const runner = new Runner(t, { start: { json: { schema: JOB.schema, state: 'unwatched', reason: 'no probes' } } });
  const main = await runner.run('main');
  assert.equal(main.code, 1);
  assert.match(main.errors, /not armed: no probes/);
});

test('a wrong policy fails whatever the workflow says about runners that can not', withRoot, async (t) => {
  const runner = new Runner(t, { start: { code: 2, stderr: 'workflow.yml:3:1: no such key\n' } });
  const main = await runner.run('main', { 'fail-on-unsupported': 'false' });
  assert.equal(main.code, 1);
  assert.match(main.errors, /refuses what it was asked: .*no such key/);
});

test('sudo that is asked to be refused must be refusable', withRoot, async (t) => {
  const runner = new Runner(t, { start: { json: { ...JOB, mode: 'block', tier: 'tracepoint' } } });
  const main = await runner.run('main', { 'egress-policy': 'block', 'disable-sudo': 'true' });
  assert.equal(main.code, 1);
  assert.match(main.errors, /the tracepoint tier can't/);
});

test('a daemon that ends at once is told with its last words', withRoot, async (t) => {
  const runner = new Runner(t, { daemon: { code: 1, stderr: 'config.yml:2:1: no such key\n' } });
  const before = Date.now();
  const main = await runner.run('main');
  assert.equal(main.code, 1);
  assert.match(main.errors, /the daemon ended at once: config\.yml:2:1: no such key/);
  assert.ok(Date.now() - before < 20_000, 'without waiting for the deadline');
});

test('a daemon that never answers is given up at the deadline', withRoot, async (t) => {
  const runner = new Runner(t, { status: { code: 125, stderr: 'starting\n' } });
  const main = await runner.run('main', { 'start-timeout': '10' });
  assert.equal(main.code, 1);
  assert.match(main.errors, /didn't answer within 10 s \(ended with 125: starting\)/);
  const { own } = runner.session;
  await runner.run('post');
  assert.ok(!beginning(own.pid), 'and post ends it');
});

test('a binary that was exchanged between two stages is not started', withRoot, async (t) => {
  const runner = new Runner(t);
  await runner.run('pre');
  const { binary } = runner.session;
  writeFileSync(binary.path, `${readFileSync(binary.path, 'utf8')}\n// other\n`);
  const calls = runner.calls.length;
  const post = await runner.run('post');
  assert.equal(runner.calls.length, calls);
  assert.match(post.warnings, /is not the binary it was/);
  assert.equal(post.outputs.verdict, 'tampered');
});

test('a binary that is not the one its digest names is not started', withRoot, async (t) => {
  const runner = new Runner(t);
  const main = await runner.run('main', { 'binary-sha256': 'ab'.repeat(32) });
  assert.equal(main.code, 1);
  assert.match(main.errors, /one of them is wrong/);
  assert.deepEqual(runner.calls, []);
});

test('without a release, and without a binary, the way out is named', withRoot, async (t) => {
  const main = await new Runner(t).run('main', { 'binary-path': undefined });
  assert.equal(main.code, 1);
  assert.match(main.errors, /no release of runner-agent yet; .*`binary-path`/);
});
