// The stages against a real binary, as root and without sudo: `RUNNER_AGENT_BINARY=PATH node --test action/test/real.test.mjs`.
//
// It starts a daemon that loads probes, so that it runs only where it is asked to.

import assert from 'node:assert/strict';
import { readFileSync, readdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';

import { beginning } from '../daemon.mjs';
import { run } from '../spawn.mjs';
import { GOLDEN } from './support/golden.mjs';
import { needsRoot, Runner } from './support/runner.mjs';

const binary = process.env.RUNNER_AGENT_BINARY && path.resolve(process.env.RUNNER_AGENT_BINARY);
const reason = binary ? needsRoot : 'RUNNER_AGENT_BINARY names no binary';
if (reason) {
  process.stdout.write(`skipped: the action against a real binary: ${reason}\n`);
}
const skip = { skip: reason };

test('every policy of the golden files is one that the binary takes', skip, async () => {
  const policies = readdirSync(GOLDEN).filter((name) => name.endsWith('.yml') && name !== 'config.yml');
  for (const name of policies) {
    const result = await run([binary, 'policy', 'check', path.join(GOLDEN.pathname, name)]);
    assert.equal(result.code, 0, `${name}: ${result.stdout}${result.stderr}`);
  }
});

for (const mode of ['audit', 'block']) {
  test(`main and post watch a job in mode ${mode}`, skip, async (t) => {
    const runner = new Runner(t);
    const inputs = { 'binary-path': binary, 'egress-policy': mode, 'allowed-endpoints': 'downloads.example.org', 'fail-on': 'never' };
    const main = await runner.run('main', inputs);
    assert.equal(main.code, 0, main.stdout + main.stderr);
    assert.equal(main.outputs['effective-mode'], mode);
    assert.match(main.outputs['policy-sha256'], /^[0-9a-f]{64}$/);
    const { own } = runner.session;
    const post = await runner.run('post', inputs);
    assert.equal(post.code, 0, post.stdout + post.stderr);
    assert.match(post.outputs.verdict, /^(clean|violations|blocked|degraded)$/);
    assert.match(post.summary, /## runner-agent: /);
    assert.equal(JSON.parse(readFileSync(main.outputs['report-path'], 'utf8')).job, main.outputs['job-id']);
    assert.ok(!own.pid || !beginning(own.pid), 'the daemon has ended');
  });
}

test('a policy that the binary does not take fails the step with its words', skip, async (t) => {
  const runner = new Runner(t);
  writeFileSync(path.join(runner.workspace, 'policy.yml'), 'version: 1\nname: ours\nno-such-key: 1\n');
  const main = await runner.run('main', { 'binary-path': binary, policy: 'policy.yml' });
  assert.equal(main.code, 1);
  assert.match(main.errors, /no-such-key/);
  await runner.run('post');
});
