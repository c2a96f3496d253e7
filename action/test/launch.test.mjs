import assert from 'node:assert/strict';
import { test } from 'node:test';

import { asFile, forClient, forDaemon, secretsOf } from '../environment.mjs';
import { asProcess, asUnit, configText } from '../launch.mjs';
import { asRoot, complaint, run } from '../spawn.mjs';
import { isGolden } from './support/golden.mjs';

const folder = '/var/lib/runner-agent-action/0123456789abcdef';
const binary = `${folder}/runner-agent`;

test('under systemd the daemon is a unit, and its environment a file', () => {
  const argv = asUnit({ unit: 'runner-agent-action-0123456789abcdef', folder, binary });
  isGolden('systemd-run.txt', `${asRoot(argv, 1001).join('\n')}\n`);
});

test('without systemd sudo keeps the names that it is told, and no value is an argument', () => {
  const argv = asProcess({ folder, binary, environment: { PATH: '/bin', HTTPS_PROXY: 'http://user:word@proxy.example' }, uid: 1001 });
  assert.deepEqual(argv, ['sudo', '-n', '--preserve-env=PATH,HTTPS_PROXY', '--', binary, 'daemon', '--config', `${folder}/config.yml`]);
  assert.equal(asProcess({ folder, binary, environment: {}, uid: 0 })[0], binary, 'root needs no sudo');
});

test('the configuration is what it was', () => isGolden('config.yml', configText({ socket: '/run/runner-agent/control.sock', folder, uid: 1001 })));

test('an environment as a file says the same', () => {
  assert.equal(asFile({ A: 'plain', B: 'a "b" $c `d` \\e', C: 'two\nlines' }), 'A="plain"\nB="a \\"b\\" \\$c \\`d\\` \\\\e"\n');
});

test('only what is listed is handed on', () => {
  const all = {
    GITHUB_JOB: 'b', GITHUB_TOKEN: 't', GITHUB_ENV: '/f', RUNNER_TRACKING_ID: 'r', ACTIONS_RUNTIME_TOKEN: 't',
    ACTIONS_RESULTS_URL: 'https://r.example/', LD_PRELOAD: '/x.so', NODE_OPTIONS: '-r x', PATH: '/evil', HOME: '/evil',
  };
  const client = forClient(all);
  assert.deepEqual(Object.keys(client).sort(), ['ACTIONS_RESULTS_URL', 'CI', 'GITHUB_JOB', 'HOME', 'LANG', 'NO_COLOR', 'PATH', 'RUNNER_TRACKING_ID']);
  const daemon = forDaemon(all);
  assert.deepEqual(Object.keys(daemon).sort(), ['ACTIONS_RESULTS_URL', 'HOME', 'LANG', 'NO_COLOR', 'PATH']);
  assert.ok(![client.PATH, client.HOME, daemon.PATH].includes('/evil'));
});

test("a proxy's password is a secret", () => {
  assert.deepEqual(secretsOf({ HTTPS_PROXY: 'http://me:word@proxy.example:3128', http_proxy: 'http://proxy.example' }), ['word']);
});

test('a program that hangs, is missing or writes without end is ended and told', async () => {
  const node = (script, options) => run([process.execPath, '-e', script], options);
  assert.match(complaint(await node('setInterval(() => {}, 1000)', { timeout: 200 })), /didn't end within 0\.2 s/);
  assert.match(complaint(await run(['/nowhere/program'])), /can't be started \(ENOENT\)/);
  assert.match(complaint(await node('setInterval(() => process.stdout.write("x".repeat(1 << 20)), 0)')), /wrote more than/);
  assert.match(complaint(await node('console.error("why"); process.exit(7)')), /^ended with 7: why$/);
  assert.match(complaint(await node('process.kill(process.pid, "SIGTERM"); setInterval(() => {}, 1000)')), /was ended by SIGTERM/);
});
