// What a runner does for a step: inputs as variables, files for what it sets, and a log in which it looks for commands.

import { spawn } from 'node:child_process';
import { chmodSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import net from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

const ACTION = fileURLToPath(new URL('../../', import.meta.url));

/** Folders that root alone can write to are what the action insists on. */
export const needsRoot = process.platform !== 'linux' ? 'not Linux' : process.getuid() === 0 ? false : 'takes root';

export const JOB = {
  schema: 'runner-agent/job/1', job: 'job-1', state: 'running', mode: 'audit', tier: 'tracing', trust: 'untrusted',
  trust_reason: 'a pull request', policy: 'workflow', policy_sha256: 'ab'.repeat(32), log: '/var/log/runner-agent/job-1.jsonl',
  receipt: '/var/log/runner-agent/job-1.jsonl.receipt.json',
};

export const DONE = {
  ...JOB, state: 'ended', verdict: 'clean', findings: [], destinations: [], summary: 'nothing happened\n',
  counts: { seen: 12, lost: 0, blocked: 0, findings: { critical: 0, high: 0, medium: 0, low: 0, info: 0 } },
};

/** The commands that the runner would carry out, read as it reads a step's output. */
export function commandsIn(output) {
  const found = [];
  let token;
  for (const raw of output.split('\n')) {
    const line = raw.trimStart();
    const old = /##\[([^\] ]+)[^\]]*\]/.exec(raw);
    const match = /^::([a-z-]+)(?: ([^:]*))?::(.*)$/i.exec(line);
    if (token !== undefined) {
      token = line.trimEnd() === `::${token}::` ? undefined : token;
    } else if (match) {
      const [, name, properties = '', data] = match;
      token = name === 'stop-commands' ? data : undefined;
      found.push({ name, properties, data: unescape(data) });
    } else if (old) {
      found.push({ name: old[1], properties: '', data: raw });
    }
  }
  return found;
}

const unescape = (text) => text.replaceAll('%0A', '\n').replaceAll('%0D', '\r').replaceAll('%25', '%');

/** A file command's records: `NAME<<DELIMITER`, lines, `DELIMITER`. */
export function recordsIn(text) {
  const found = {};
  const lines = text.split('\n');
  for (let at = 0; at < lines.length; at += 1) {
    const head = /^([^<]+)<<(.+)$/.exec(lines[at]);
    if (head) {
      const end = lines.indexOf(head[2], at + 1);
      found[head[1]] = lines.slice(at + 1, end).join('\n');
      at = end;
    }
  }
  return found;
}

export class Runner {
  constructor(test, answers = {}) {
    this.folder = mkdtempSync(path.join(tmpdir(), 'action-'));
    this.socket = path.join(this.folder, 'control.sock');
    this.binary = path.join(this.folder, 'runner-agent');
    this.workspace = path.join(this.folder, 'workspace');
    this.temp = path.join(this.folder, 'temp');
    [this.workspace, this.temp].forEach((folder) => mkdirSync(folder));
    const script = readFileSync(new URL('./standin.cjs', import.meta.url), 'utf8');
    writeFileSync(this.binary, `#!${process.execPath}\nconst SCRATCH = ${JSON.stringify(this.folder)};\n${script}`);
    chmodSync(this.binary, 0o755);
    this.answer({ start: { json: JOB }, stop: { json: DONE }, ...answers });
    this.state = {};
    test.after(() => this.end());
  }

  answer(answers) {
    this.answers = { ...this.answers, ...answers };
    writeFileSync(path.join(this.folder, 'answers.json'), JSON.stringify(this.answers));
  }

  /** Every call of the stand-in, but for those that ask whether it is there yet. */
  get calls() {
    const file = path.join(this.folder, 'calls.jsonl');
    const lines = existsSync(file) ? readFileSync(file, 'utf8').trim().split('\n') : [];
    return lines.map((line) => JSON.parse(line)).filter(({ words }) => words[1] !== 'status');
  }

  get session() {
    return JSON.parse(this.state.session ?? '{}');
  }

  /** A daemon that was there before the job. */
  async listen() {
    this.server = net.createServer((client) => client.end());
    await new Promise((resolve) => this.server.listen(this.socket, resolve));
  }

  environment(inputs, more) {
    const given = { 'socket-path': this.socket, 'state-path': path.join(this.folder, 'state'), 'binary-path': this.binary, ...inputs };
    const named = Object.entries(given).filter(([, value]) => value !== undefined).map(([name, value]) => [`INPUT_${name.toUpperCase()}`, value]);
    const states = Object.entries(this.state).map(([name, value]) => [`STATE_${name}`, value]);
    return {
      PATH: process.env.PATH, GITHUB_WORKSPACE: this.workspace, RUNNER_TEMP: this.temp, GITHUB_JOB: 'build', GITHUB_RUN_ID: '7',
      RUNNER_TRACKING_ID: 'github_1', ACTIONS_RUNTIME_TOKEN: 'not-for-the-client', ...Object.fromEntries([...named, ...states]), ...more,
    };
  }

  /** Runs a stage as a process, as the runner does, and keeps the state that it saves. */
  async run(stage, inputs = {}, more = {}) {
    const files = Object.fromEntries(['OUTPUT', 'STATE', 'STEP_SUMMARY'].map((name) => [`GITHUB_${name}`, path.join(this.folder, `${stage}-${name}`)]));
    Object.values(files).forEach((file) => writeFileSync(file, ''));
    const env = { ...this.environment(inputs, more), ...files };
    const child = spawn(process.execPath, [path.join(ACTION, `${stage}.mjs`)], { env, stdio: ['ignore', 'pipe', 'pipe'] });
    const read = { stdout: '', stderr: '' };
    for (const name of ['stdout', 'stderr']) {
      child[name].setEncoding('utf8').on('data', (text) => {
        read[name] += text;
      });
    }
    const code = await new Promise((resolve) => child.on('close', resolve));
    Object.assign(this.state, recordsIn(readFileSync(files.GITHUB_STATE, 'utf8')));
    const commands = commandsIn(read.stdout);
    const of = (level) => commands.filter(({ name }) => name === level).map(({ data }) => data).join('\n');
    return {
      code, ...read, commands, errors: of('error'), warnings: of('warning'), notices: of('notice'),
      outputs: recordsIn(readFileSync(files.GITHUB_OUTPUT, 'utf8')), summary: readFileSync(files.GITHUB_STEP_SUMMARY, 'utf8'),
    };
  }

  end() {
    this.server?.close();
    const { own } = this.session;
    // A test that failed half-way has left its daemon; that is a process which this test has started.
    if (own?.pid && existsSync(`/proc/${own.pid}`) && readFileSync(`/proc/${own.pid}/cmdline`, 'utf8').includes(this.folder)) {
      process.kill(own.pid, 'SIGKILL');
    }
    rmSync(this.folder, { recursive: true, force: true });
  }
}
