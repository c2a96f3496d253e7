import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';

import { IGNORED, INPUTS, ONLY, REFUSED } from '../input-names.mjs';
import { readInputs } from '../inputs.mjs';
import { failOnOf, settle } from '../settings.mjs';

const environment = (inputs) => Object.fromEntries(Object.entries(inputs).map(([name, value]) => [`INPUT_${name.toUpperCase()}`, value]));
const read = (inputs, hide) => readInputs(environment(inputs), hide);
const settings = (inputs) => settle(read(inputs).values, '/nowhere').settings;

test('action.yml declares every input that is read or ignored, and none of those refused', () => {
  const text = readFileSync(new URL('../../action.yml', import.meta.url), 'utf8');
  const part = text.slice(text.indexOf('\ninputs:'), text.indexOf('\noutputs:'));
  const declared = [...part.matchAll(/^ {2}([a-z0-9-]+):/gm)].map((match) => match[1]).sort();
  const known = [...Object.values(INPUTS).flatMap((names) => Object.keys(names)), ...Object.keys(IGNORED), ...Object.keys(ONLY)].sort();
  assert.deepEqual(declared, known);
  assert.ok(Object.keys(REFUSED).every((name) => !declared.includes(name)));
  assert.ok(!/^\s+default:/m.test(part), 'a default would contradict what is written under another name');
});

test('the page about the action names every input that is read', () => {
  const page = readFileSync(new URL('../../docs/github-action.md', import.meta.url), 'utf8');
  for (const name of Object.values(INPUTS).flatMap((names) => Object.keys(names))) {
    assert.ok(page.includes(`\`${name}\``), name);
  }
});

for (const [name, value, mode] of [
  ['mode', 'enforce', 'block'], ['mode', 'block', 'block'], ['mode', 'analyze', 'audit'], ['mode', 'monitor', 'audit'],
  ['prevent', 'true', 'block'], ['prevent', 'false', 'audit'], ['audit', 'true', 'audit'], ['audit', 'false', 'block'],
  ['egress-policy', 'BLOCK', 'block'],
]) {
  test(`${name}: ${value} is mode ${mode}`, () => assert.equal(settings({ [name]: value }).mode, mode));
}

test('two names that say different things are an error that names both, and two that agree are none', () => {
  assert.throws(() => read({ 'egress-policy': 'audit', mode: 'enforce' }), /`egress-policy` and `mode` both mean `egress-policy`/);
  assert.throws(() => read({ 'allowed-endpoints': 'a.example.org', 'allowed-domains': 'b.example.org' }), /`allowed-endpoints` and `allowed-domains`/);
  assert.throws(() => read({ 'disable-sudo': 'true', 'enable-sudo': 'true' }), /`disable-sudo` and `enable-sudo`/);
  assert.equal(settings({ 'egress-policy': 'block', mode: 'enforce' }).mode, 'block');
  assert.equal(settings({ 'disable-sudo': 'true', 'enable-sudo': 'false' }).sudo, true);
});

test('a policy file and lists are two answers to one question', () => {
  assert.throws(() => settings({ policy: 'p.yml', 'allowed-domains': 'a.example.org' }), /`policy` and `allowed-domains` both say what the job may do/);
  assert.throws(() => settings({ 'config-file': 'p.yml', 'disable-sudo': 'true' }), /`config-file` and `disable-sudo`/);
  assert.equal(settings({ policy: 'p.yml', 'disable-sudo': 'false' }).policyFile, '/nowhere/p.yml');
});

test('what is ignored gives a notice with the reason', () => {
  const { notices } = read({ 'disable-telemetry': 'true', token: 'x' });
  assert.equal(notices.length, 2);
  assert.match(notices[0], /`disable-telemetry` changes nothing: nothing is ever sent/);
});

for (const name of Object.keys(REFUSED)) {
  test(`${name} asks for what isn't done, and is an error`, () => assert.throws(() => read({ [name]: 'x' }), new RegExp(`\`${name}\` is (not )?`)));
}

test('what would be dropped without a word is an error', () => {
  assert.throws(() => read({ 'egress-polcy': 'block' }), /no input `egress-polcy`; did you mean `egress-policy`\?/);
  assert.throws(() => read({ 'something-else': 'block' }), /no input `something-else`; action\.yml lists/);
  assert.throws(() => read({ 'use-policy-store': 'true' }), /can't be done: there is no service/);
  assert.doesNotThrow(() => read({ 'use-policy-store': 'false' }));
  assert.throws(() => settings({ 'dns-policy': 'any' }), /a question is a way out/);
});

test('all that is wrong is told at once', () => {
  assert.throws(() => read({ mode: 'on', sarif: 'true', 'disable-sudo': 'yes' }), (problem) => problem.message.split('\n').length === 3);
});

test('secrets are hidden before anything is said about them', () => {
  const hidden = [];
  assert.throws(() => read({ token: 't-1', 'webhook-secret': 's-1' }, (value) => hidden.push(value)));
  assert.deepEqual(hidden, ['t-1', 's-1']);
});

test('a list without a mode is warned of, and the mode is that of the dialect', () => {
  const { settings: own, warnings } = settle(read({ 'allowed-endpoints': 'a.example.org' }).values);
  assert.equal(own.mode, 'audit');
  assert.match(warnings[0], /no `egress-policy`, so that nothing is refused/);
  assert.equal(settings({ 'egress-dialect': 'harden-runner', 'allowed-endpoints': 'a.example.org' }).mode, 'block');
  assert.equal(settings({ 'egress-dialect': 'cargowall' }).mode, 'block');
  assert.equal(settings({ 'egress-dialect': 'bullfrog' }).mode, 'audit');
});

test("another action's list without its dialect is told how it is read", () => {
  assert.match(settle(read({ 'allowed-hosts': 'a.example.org' }).values).notices[0], /`allowed-hosts` is read as `allowed-endpoints`/);
});

test('paths and numbers are checked', () => {
  assert.throws(() => settings({ 'socket-path': 'run/x.sock' }), /begins with \//);
  assert.throws(() => settings({ 'socket-path': `/${'x'.repeat(107)}` }), /at most 107/);
  assert.throws(() => settings({ 'state-path': '/a\nb' }), /control character/);
  assert.throws(() => settings({ 'start-timeout': '0' }), /from 1 to 600/);
  assert.throws(() => settings({ 'binary-path': '/x', 'binary-sha256': 'abc' }), /64 hexadecimal digits/);
  assert.throws(() => settings({ 'binary-sha256': 'ab'.repeat(32) }), /no `binary-path`/);
  assert.throws(() => settings({ 'binary-path': '/x', version: '1.0.0' }), /keep one/);
});

test('what makes a job fail follows the mode, unless it is written', () => {
  assert.equal(failOnOf({}, 'block'), 'denied');
  assert.equal(failOnOf({}, 'audit'), 'never');
  assert.equal(settings({ 'fail-on-violations': 'true' }).failOn, 'medium');
  assert.equal(settings({ 'fail-on': 'high' }).failOn, 'high');
});
