// The job's end: what it is told as, and when it fails.

import assert from 'node:assert/strict';
import { existsSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';

import { beginning } from '../daemon.mjs';
import { DONE, JOB, needsRoot, Runner } from './support/runner.mjs';

const withRoot = { skip: needsRoot };

const BLOCKED = { ...DONE, verdict: 'blocked', counts: { ...DONE.counts, blocked: 2 } };

for (const [name, mode, failOn, stop, code] of [
  ['in mode block, what was refused fails the job', 'block', undefined, { json: BLOCKED }, 1],
  ['in mode audit, findings alone do not', 'audit', undefined, { json: { ...DONE, verdict: 'violations' } }, 0],
  ['never means never', 'block', 'never', { json: BLOCKED }, 0],
  ['the client says whether findings reach the severity', 'audit', 'high', { code: 3, json: { ...DONE, verdict: 'violations' } }, 1],
  ['findings below it pass', 'audit', 'high', { json: { ...DONE, verdict: 'violations' } }, 0],
  ['tampering fails whatever the severity', 'audit', 'high', { json: { ...DONE, verdict: 'tampered' } }, 1],
  ['no account fails who asked for a verdict', 'block', undefined, { code: 125, stderr: 'gone\n' }, 1],
  ['an answer that is no JSON is no account', 'block', undefined, { stdout: 'fine' }, 1],
  ['another schema is no account', 'block', undefined, { json: { ...DONE, schema: 'runner-agent/job/9' } }, 1],
]) {
  test(`the end: ${name}`, withRoot, async (t) => {
    const runner = new Runner(t, { start: { json: { ...JOB, mode } }, stop });
    await runner.run('main', { 'egress-policy': mode, 'fail-on': failOn });
    const { own } = runner.session;
    const post = await runner.run('post');
    assert.equal(post.code, code, post.stdout);
    assert.equal(post.errors !== '', code === 1);
    assert.ok(!beginning(own.pid), 'the daemon is stopped all the same');
  });
}

test('post without a start says so and passes', withRoot, async (t) => {
  const post = await new Runner(t).run('post');
  assert.equal(post.code, 0);
  assert.match(post.stdout, /nothing was watched/);
});

test('the summary is left out on request', withRoot, async (t) => {
  const runner = new Runner(t);
  await runner.run('main', { 'job-summary': 'false' });
  assert.equal((await runner.run('post')).summary, '');
});

test('a link that a step has left at the place of the report is not followed', withRoot, async (t) => {
  const runner = new Runner(t);
  const main = await runner.run('main');
  const other = path.join(runner.folder, 'other');
  writeFileSync(other, 'untouched');
  symlinkSync(other, main.outputs['report-path']);
  await runner.run('post');
  assert.equal(readFileSync(other, 'utf8'), 'untouched');
  assert.equal(JSON.parse(readFileSync(main.outputs['report-path'], 'utf8')).verdict, 'clean');
});

test('a state that names another folder removes nothing and ends nothing', withRoot, async (t) => {
  const runner = new Runner(t);
  await runner.run('main');
  const { own, ...rest } = runner.session;
  const victim = path.join(runner.folder, 'victim');
  writeFileSync(victim, '');
  const { state } = runner;
  for (const other of [{ folder: victim }, { folder: path.join(rest.state, '../victim'), id: '../victim' }, { unit: 'sshd.service' }]) {
    runner.state = { session: JSON.stringify({ ...rest, own: { ...own, ...other } }) };
    const post = await runner.run('post');
    assert.equal(post.code, 1);
    assert.match(post.errors, /names a daemon that this action can't have started/);
    assert.ok(existsSync(victim) && beginning(own.pid));
  }
  runner.state = state;
  await runner.run('post');
  assert.ok(!beginning(own.pid));
});
