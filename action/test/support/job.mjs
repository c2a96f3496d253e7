// One job from its beginning to its end, with a real binary: a worker's process, and a daemon that was there before, if wanted.

import { spawn } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';

import { beginning } from '../../daemon.mjs';
import { configText } from '../../launch.mjs';
import { run } from '../../spawn.mjs';

const WORKER = fileURLToPath(new URL('./worker.mjs', import.meta.url));
const PATIENCE = 60_000;

/** Waits for something to be so. */
async function until(what, holds) {
  for (const deadline = Date.now() + PATIENCE; !(await holds()); await pause(20)) {
    if (Date.now() > deadline) {
      throw new Error(`not so within ${PATIENCE / 1000} s: ${what}`);
    }
  }
}

/** A machine's folders, and the daemon on it. */
export class Machine {
  constructor(binary) {
    this.binary = binary;
    this.folder = mkdtempSync(path.join(tmpdir(), 'action-'));
    this.socket = path.join(this.folder, 'control.sock');
    this.state = path.join(this.folder, 'state');
  }

  /** A daemon as an image has one, whose policy is of this mode. */
  async install(mode) {
    const { folder, socket, binary } = this;
    for (const [name, rights] of [['daemon', 0o711], ['daemon/policies', 0o700], ['daemon/logs', 0o700], ['daemon/state', 0o711]]) {
      mkdirSync(path.join(folder, name), { mode: rights });
    }
    const policy = `version: 1\nname: machine\nmode: ${mode}\ninclude: [presets/default, presets/github-actions]\n`;
    writeFileSync(path.join(folder, 'daemon/policies/machine.yml'), policy, { mode: 0o600 });
    const config = path.join(folder, 'daemon/config.yml');
    writeFileSync(config, configText({ socket, folder: path.join(folder, 'daemon'), uid: process.getuid() }), { mode: 0o600 });
    const child = spawn(binary, ['daemon', '--config', config], { stdio: ['ignore', 'ignore', 'pipe'], detached: true });
    this.daemon = { pid: child.pid, began: beginning(child.pid), words: '' };
    child.stderr.setEncoding('utf8').on('data', (text) => {
      this.daemon.words += text;
    });
    child.unref();
    child.stderr.unref();
    await until('the daemon answers', async () => {
      if (beginning(child.pid) === undefined) {
        throw new Error(`the daemon ended: ${this.daemon.words}`);
      }
      return (await run([binary, 'job', 'status', '--socket', socket])).code === 0;
    });
  }

  /** Runs a job, a bare one without the action. What it came to is what its worker says, and in `wall` how long the worker ran. */
  async job({ bare = false, inputs = {}, steps = [], environment = {} }) {
    const here = mkdtempSync(path.join(this.folder, 'job-'));
    const [workspace, temp] = ['workspace', 'temp'].map((name) => path.join(here, name));
    [workspace, temp].forEach((folder) => mkdirSync(folder));
    const job = {
      bare,
      folder: here,
      inputs: { 'socket-path': this.socket, 'state-path': this.state, 'binary-path': this.binary, ...inputs },
      steps,
      environment: { PATH: process.env.PATH, HOME: here, CI: 'true', GITHUB_ACTIONS: 'true', GITHUB_JOB: 'build', GITHUB_RUN_ID: '7', GITHUB_WORKSPACE: workspace, RUNNER_TEMP: temp, ...environment },
    };
    const [described, result] = ['job.json', 'result.json'].map((name) => path.join(here, name));
    writeFileSync(described, JSON.stringify(job));
    const began = performance.now();
    // A session of its own, as every runner's worker has: what stands in ours is not the job's.
    const worker = spawn(process.execPath, [WORKER, described, result], { stdio: 'inherit', detached: true });
    const code = await new Promise((resolve, reject) => {
      worker.once('error', reject);
      worker.once('close', resolve);
    });
    if (code !== 0) {
      throw new Error(`the worker ended with ${code}`);
    }
    const said = { ...JSON.parse(readFileSync(result, 'utf8')), wall: performance.now() - began };
    if (this.daemon) {
      await until('the job is over', async () => /no jobs/.test((await run([this.binary, 'job', 'list', '--socket', this.socket])).stdout));
    }
    return said;
  }

  /** Ends the daemon, and removes all of it. */
  async end(left = []) {
    const own = [...left, this.daemon].filter((daemon) => Number.isInteger(daemon?.pid) && beginning(daemon.pid) === daemon.began);
    own.forEach(({ pid }) => process.kill(pid, 'SIGTERM'));
    for (const { pid, began } of own) {
      await until('the daemon has ended', () => beginning(pid) !== began);
    }
    rmSync(this.folder, { recursive: true, force: true });
  }
}
