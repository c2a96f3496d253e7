// The three stages as processes, as a runner starts them, over a stand-in for the binary.

import assert from 'node:assert/strict';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';

import { beginning } from '../daemon.mjs';
import { JOB, needsRoot, Runner } from './support/runner.mjs';

const withRoot = { skip: needsRoot };
const option = ({ words }, name) => words[words.indexOf(name) + 1];

test('pre starts a daemon and the watch, main only tells, post ends both', withRoot, async (t) => {
  const runner = new Runner(t);
  const pre = await runner.run('pre', { 'egress-policy': 'audit', 'allowed-endpoints': 'a.example.org' });
  assert.equal(pre.code, 0, pre.stdout + pre.stderr);
  const [daemon, start] = runner.calls;
  assert.deepEqual(daemon.words.slice(0, 2), ['daemon', '--config']);
  assert.match(daemon.policy, /host: "a\.example\.org", ports: \[443\]/);
  assert.match(daemon.config, new RegExp(`^owner: ${process.getuid()}$`, 'm'));
  assert.deepEqual(daemon.modes, {
    'config.yml': '600', environment: '600', policies: '700', 'policies/workflow.yml': '600', logs: '700', state: '711', 'runner-agent': '755',
  });
  assert.ok(daemon.leads, 'the daemon leads a session of its own');
  assert.equal(option(start, '--mode'), 'audit');
  assert.equal(option(start, '--on-failure'), 'fail');
  assert.equal(option(start, '--worker'), String(process.pid), 'the worker is who started the stage');

  const main = await runner.run('main', { 'egress-policy': 'audit', 'allowed-endpoints': 'a.example.org' });
  assert.equal(main.code, 0, main.stdout);
  assert.equal(runner.calls.length, 2, 'main started nothing');
  assert.deepEqual(main.outputs, {
    'effective-mode': 'audit', 'job-id': 'job-1', trust: 'untrusted', tier: 'tracing', 'policy-sha256': JOB.policy_sha256,
    'log-path': JOB.log, 'receipt-path': JOB.receipt, 'report-path': path.join(runner.temp, 'runner-agent-report.json'),
  });

  const { own } = runner.session;
  const post = await runner.run('post');
  assert.equal(post.code, 0, post.stdout);
  assert.equal(option(runner.calls[2], '--fail-on'), 'never');
  assert.deepEqual(post.outputs, { verdict: 'clean', violations: '0', blocked: '0', lost: '0' });
  assert.match(post.summary, /## runner-agent: clean/);
  assert.equal(JSON.parse(readFileSync(main.outputs['report-path'], 'utf8')).verdict, 'clean');
  assert.ok(!beginning(own.pid), 'the daemon has ended');
  assert.ok(!existsSync(path.join(own.folder, 'runner-agent')) && existsSync(path.join(own.folder, 'logs')));
});

test('main does what pre could not, because a local action has none', withRoot, async (t) => {
  const runner = new Runner(t, { start: { json: { ...JOB, mode: 'block' } } });
  const main = await runner.run('main', { 'egress-policy': 'block' });
  assert.equal(main.code, 0, main.stdout);
  assert.equal(main.outputs['effective-mode'], 'block');
  assert.deepEqual(runner.calls.map(({ words }) => words[0]), ['daemon', 'job']);
});

test('neither the tracking id nor tokens reach the daemon, and tokens no client', withRoot, async (t) => {
  const runner = new Runner(t);
  await runner.run('main', {}, { NODE_OPTIONS: '', LD_PRELOAD: '', GITHUB_SERVER_URL: 'https://github.example' });
  const [daemon, start] = runner.calls;
  assert.equal(daemon.env.RUNNER_TRACKING_ID, undefined);
  assert.equal(daemon.env.GITHUB_SERVER_URL, 'https://github.example');
  assert.equal(start.env.RUNNER_TRACKING_ID, 'github_1', 'the job is known by it');
  for (const { env } of runner.calls) {
    assert.equal(env.ACTIONS_RUNTIME_TOKEN, undefined);
    assert.ok(!Object.keys(env).some((name) => name.startsWith('INPUT_') || name.startsWith('STATE_')));
  }
});

test('a daemon that is there is asked, and none started', withRoot, async (t) => {
  const runner = new Runner(t);
  await runner.listen();
  const main = await runner.run('main', { 'allowed-endpoints': 'a.example.org', 'egress-policy': 'audit' });
  assert.equal(main.code, 0, main.stdout);
  assert.deepEqual(runner.calls.map(({ words }) => words.slice(0, 2).join(' ')), ['job start']);
  assert.match(runner.calls[0].policies[0], /a\.example\.org/);
  const post = await runner.run('post');
  assert.equal(post.code, 0, post.stdout);
  assert.ok(existsSync(runner.socket), 'a daemon of others is not stopped');
});

test('a daemon that is there keeps its own policy if the inputs say nothing about one', withRoot, async (t) => {
  const runner = new Runner(t);
  await runner.listen();
  await runner.run('main', { 'egress-policy': 'audit' });
  assert.deepEqual(runner.calls[0].policies, []);
  const widened = await new Runner(t).run('main', { 'disable-file-monitoring': 'true', 'socket-path': runner.socket });
  assert.match(widened.errors, /would widen the policy of the daemon/);
});

test('inputs that change between pre and main are an error, not a policy half applied', withRoot, async (t) => {
  const runner = new Runner(t);
  await runner.run('pre', { 'allowed-endpoints': '' });
  const main = await runner.run('main', { 'allowed-endpoints': 'a.example.org', 'egress-policy': 'audit' });
  assert.equal(main.code, 1);
  assert.match(main.errors, /the inputs are others than before the first step/);
});

test('a policy from the repository waits for the checkout, and is taken as it is', withRoot, async (t) => {
  const runner = new Runner(t, { start: { json: { ...JOB, mode: 'block' } } });
  const text = 'version: 1\nname: ours\nmode: block\n';
  const file = path.join(runner.workspace, 'policy.yml');
  // What an earlier job has left is not what this one has checked out.
  writeFileSync(file, 'version: 1\nname: stale\n');
  const pre = await runner.run('pre', { policy: 'policy.yml' });
  assert.equal(pre.code, 0, pre.stdout);
  assert.deepEqual(runner.calls, []);
  writeFileSync(file, text);
  const main = await runner.run('main', { policy: 'policy.yml' });
  assert.equal(main.code, 0, main.stdout);
  const [daemon, start] = runner.calls;
  assert.equal(daemon.policy, text);
  assert.equal(option(start, '--mode'), 'block');
});

test('a policy file that asks for block is held to it', withRoot, async (t) => {
  const runner = new Runner(t);
  writeFileSync(path.join(runner.workspace, 'policy.yml'), 'version: 1\nname: ours\nmode: block # see docs\n');
  const main = await runner.run('main', { policy: 'policy.yml' });
  assert.equal(main.code, 1);
  assert.match(main.errors, /asked for mode block/);
});

test('a job that a hook has begun is joined, and its end is the hook\'s to announce', withRoot, async (t) => {
  const runner = new Runner(t, { start: { json: { ...JOB, joined: true } } });
  await runner.listen();
  const main = await runner.run('main', {});
  assert.equal(main.code, 0, main.stdout);
  const start = runner.calls.find(({ words }) => words[1] === 'start');
  assert.ok(start.words.includes('--join'));
  const post = await runner.run('post');
  assert.equal(post.code, 0, post.stdout);
  const stop = runner.calls.find(({ words }) => words[1] === 'stop');
  assert.ok(stop.words.includes('--only-tell'));
});
