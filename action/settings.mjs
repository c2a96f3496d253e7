// What the inputs ask for, as plain values with their defaults.

import path from 'node:path';

import { DIALECTS } from './dialects.mjs';
import { UsageError } from './problem.mjs';

const SOCKET = '/run/runner-agent/control.sock';
// Not below RUNNER_TEMP: who owns a folder can rename what root has put there.
const STATE = '/var/lib/runner-agent-action';
const START_TIMEOUT = 60;

/** Inputs that a policy file says itself. */
const IN_THE_FILE = [
  'allowed-endpoints', 'allowed-ips', 'egress-dialect', 'dns-policy',
  'disable-sudo', 'disable-docker', 'disable-sudo-and-containers', 'disable-file-monitoring',
];

function absolute(name, value) {
  if (!path.isAbsolute(value)) {
    throw new UsageError(`\`${name}\` is "${value}"; write a path that begins with /`);
  }
  return path.normalize(value);
}

function seconds(value) {
  if (!/^\d{1,4}$/.test(value) || Number(value) < 1 || Number(value) > 600) {
    throw new UsageError(`\`start-timeout\` is "${value}"; write seconds, from 1 to 600`);
  }
  return Number(value);
}

function checkFile(values) {
  const doubled = IN_THE_FILE.filter((name) => values[name] && values[name].value !== 'false');
  if (doubled.length > 0) {
    const names = doubled.map((name) => `\`${values[name].alias}\``).join(', ');
    throw new UsageError(`\`${values.policy.alias}\` and ${names} both say what the job may do; write it into the file, or leave the file out`);
  }
}

function checkPaths(settings) {
  const { socket } = settings;
  // sun_path has room for 107 bytes and a zero.
  if (Buffer.byteLength(socket) > 107) {
    throw new UsageError(`\`socket-path\` is ${Buffer.byteLength(socket)} bytes long; a socket's path has at most 107`);
  }
  for (const [name, value] of [['socket-path', socket], ['state-path', settings.state], ['binary-path', settings.binaryPath ?? '']]) {
    if (/[\x00-\x1f\x7f]/.test(value)) {
      throw new UsageError(`\`${name}\` has a control character; write a plain path`);
    }
  }
}

/** From the inputs' values to settings, and what people should know about them. */
export function settle(values, workspace = process.cwd()) {
  const notices = [];
  const warnings = [];
  const get = (name, otherwise) => values[name]?.value ?? otherwise;
  const isTrue = (name, otherwise = 'false') => get(name, otherwise) === 'true';
  if (values.policy) {
    checkFile(values);
  }
  if (get('dns-policy') === 'any') {
    throw new UsageError('`dns-policy: any` can\'t be done: in mode block a name that no rule allows is never asked for, because a question is a way out; leave it out');
  }
  const dialect = get('egress-dialect', 'runner-agent');
  const lists = ['allowed-endpoints', 'allowed-ips'].filter((name) => values[name]);
  for (const name of lists.filter((name) => values[name].alias !== name && !values['egress-dialect'])) {
    notices.push(`\`${values[name].alias}\` is read as \`${name}\`: exact names unless they begin with *., port 443 unless another is written. \`egress-dialect\` has the meanings of other actions`);
  }
  const mode = get('egress-policy', values.policy ? undefined : DIALECTS[dialect].defaultMode);
  if (!values['egress-policy'] && lists.length > 0 && mode === 'audit') {
    warnings.push('there is a list of what is allowed and no `egress-policy`, so that nothing is refused; write `egress-policy: block`, or `audit` if that is meant');
  }
  const both = isTrue('disable-sudo-and-containers');
  const settings = {
    mode,
    dialect,
    endpoints: get('allowed-endpoints', ''),
    addresses: get('allowed-ips', ''),
    policyFile: values.policy && path.resolve(workspace, values.policy.value),
    sudo: both || isTrue('disable-sudo'),
    containers: both || isTrue('disable-docker'),
    secretFiles: !isTrue('disable-file-monitoring'),
    socket: absolute('socket-path', get('socket-path', SOCKET)),
    state: absolute('state-path', get('state-path', STATE)),
    binaryPath: values['binary-path'] && path.resolve(workspace, values['binary-path'].value),
    binarySha256: get('binary-sha256')?.toLowerCase(),
    version: get('version'),
    startTimeout: seconds(get('start-timeout', String(START_TIMEOUT))),
    failOn: get('fail-on'),
    failOnUnsupported: isTrue('fail-on-unsupported', 'true'),
    jobSummary: isTrue('job-summary', 'true'),
  };
  if (settings.binarySha256 !== undefined && !/^[0-9a-f]{64}$/.test(settings.binarySha256)) {
    throw new UsageError('`binary-sha256` is no SHA-256 digest; write its 64 hexadecimal digits');
  }
  if (settings.binarySha256 !== undefined && !settings.binaryPath) {
    throw new UsageError('`binary-sha256` says what `binary-path` must be, and there is no `binary-path`; add it, or leave the digest out');
  }
  if (settings.version !== undefined && settings.binaryPath) {
    throw new UsageError('`version` and `binary-path` both say which binary to run; keep one');
  }
  if ((settings.sudo || settings.containers) && mode === 'audit') {
    warnings.push('`disable-sudo` and its like refuse in mode block alone; in mode audit they are told when they happen');
  }
  checkPaths(settings);
  return { settings, notices, warnings };
}

/** What makes a finished job fail, where the workflow doesn't say. */
export function failOnOf(settings, mode) {
  return settings.failOn ?? (mode === 'block' ? 'denied' : 'never');
}
