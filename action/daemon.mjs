// A daemon of this step's own, where the runner has none: its files, its start, its end.

import { spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { closeSync, existsSync, mkdtempSync, openSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';

import * as agent from './agent.mjs';
import { verify } from './binary.mjs';
import { asFile, forDaemon } from './environment.mjs';
import { asProcess, asUnit, configText, UNIT } from './launch.mjs';
import { UnsupportedError } from './problem.mjs';
import { asRoot, complaint, run } from './spawn.mjs';

const STOP_SECONDS = 30;
/** Milliseconds between two looks for a socket. */
const SHORTEST_WAIT = 10;

/** A folder that only we can enter, for what is on its way to root's. */
export function staging() {
  return mkdtempSync(path.join(process.env.RUNNER_TEMP || '/tmp', 'runner-agent-'));
}

/** Whether systemd runs this machine (sd_booted(3)). */
function hasSystemd() {
  return existsSync('/run/systemd/system');
}

async function privileged(argv) {
  const result = await run(asRoot(argv));
  if (result.code !== 0) {
    const advice = process.getuid() === 0 ? '' : '; a daemon takes root: let this user use sudo without a password, or install the daemon in the image';
    throw new UnsupportedError(`${argv[0]} ${complaint(result)}${advice}`);
  }
  return result;
}

/** A folder that exists is taken as it is, if root alone can change what is in it. */
async function rootFolder(folder) {
  const stat = statSync(folder, { throwIfNoEntry: false });
  if (!stat) {
    await privileged(['install', '-d', '-m', '0755', folder]);
  } else if (!stat.isDirectory() || stat.uid !== 0 || (stat.mode & 0o022) !== 0) {
    throw new UnsupportedError(`${folder} must be a folder that only root can write to, and isn't; remove it, or name another`);
  }
}

/** Puts binary, configuration and policy where the job's user can't change them. */
async function layOut({ settings, binary, policy, folder }) {
  await rootFolder(settings.state);
  await rootFolder(path.dirname(settings.socket));
  await privileged(['install', '-d', '-m', '0711', folder, `${folder}/state`]);
  await privileged(['install', '-d', '-m', '0700', `${folder}/policies`, `${folder}/logs`]);
  const stage = staging();
  const environment = forDaemon(process.env);
  try {
    const put = async (name, text) => {
      const from = path.join(stage, path.basename(name));
      writeFileSync(from, text, { mode: 0o600, flag: 'wx' });
      await privileged(['install', '-m', '0600', from, `${folder}/${name}`]);
    };
    await put('config.yml', configText({ socket: settings.socket, folder, uid: process.getuid() }));
    await put('environment', asFile(environment));
    await put('policies/workflow.yml', policy);
    await privileged(['install', '-m', '0755', binary.path, `${folder}/runner-agent`]);
  } finally {
    rmSync(stage, { recursive: true, force: true });
  }
  return environment;
}

/**
 * When a running process began, in clock ticks since boot: with its number, that is which process it is. One that has ended
 * and whose parent hasn't asked for it yet doesn't run any more.
 */
export function beginning(pid) {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    return fields[0] === 'Z' ? undefined : fields[19];
  } catch {
    return undefined;
  }
}

async function launchUnit(own, binary) {
  await privileged(asUnit({ unit: own.unit, folder: own.folder, binary: binary.path }));
}

async function launchProcess(own, binary, environment) {
  const stage = staging();
  const out = openSync(path.join(stage, 'daemon.log'), 'wx', 0o600);
  const [program, ...rest] = asProcess({ folder: own.folder, binary: binary.path, environment, uid: process.getuid() });
  try {
    const child = spawn(program, rest, { detached: true, stdio: ['ignore', out, out], env: environment, cwd: '/' });
    own.output = path.join(stage, 'daemon.log');
    await new Promise((resolve, reject) => {
      child.once('spawn', resolve);
      child.once('error', (problem) => reject(new UnsupportedError(`the daemon can't be started: ${problem.code}`)));
    });
    child.once('exit', () => {
      own.ended = true;
    });
    child.unref();
    own.pid = child.pid;
    own.began = beginning(child.pid);
  } finally {
    closeSync(out);
  }
}

async function hasEnded(own) {
  if (own.unit) {
    const result = await run(['systemctl', 'show', '--property=ActiveState', '--value', own.unit]);
    return ['inactive', 'failed'].includes(result.stdout.trim());
  }
  return own.ended === true || beginning(own.pid) !== own.began;
}

/** What the daemon said last. */
async function lastWords(own) {
  const file = own.output ?? `${own.folder}/daemon.log`;
  const result = await run(asRoot(['tail', '-c', '2000', file]));
  return result.stdout.trim() || 'it said nothing';
}

/**
 * Asks until it answers, has ended, or the time is up. Asking takes a process that reads the whole binary, beside a daemon that
 * wants the processor for itself; so nobody is asked before there is a socket.
 */
async function waitUntilReady(own, binary, settings) {
  const deadline = Date.now() + settings.startTimeout * 1000;
  // systemd is asked by a process too.
  const looks = own.unit ? 20 : 1;
  let why = 'it has no socket yet';
  let wait = SHORTEST_WAIT;
  for (let turn = 0; ; turn += 1) {
    if (existsSync(settings.socket)) {
      const status = await agent.answers(binary, settings.socket);
      if (status.yes) {
        return;
      }
      why = status.complaint;
      wait = Math.min(wait * 2, 500);
    }
    const ended = turn % looks === 0 && (await hasEnded(own));
    if (ended || Date.now() + wait > deadline) {
      const what = ended ? 'ended at once' : `didn't answer within ${settings.startTimeout} s (${why})`;
      throw new UnsupportedError(`the daemon ${what}: ${await lastWords(own)}`);
    }
    await pause(wait);
  }
}

/** Starts a daemon. `remember` is told of it before it runs, so that the job's end finds it whatever happens. */
export async function startDaemon(settings, binary, policy, remember) {
  const id = randomBytes(8).toString('hex');
  const own = { id, folder: path.join(settings.state, id), ...(hasSystemd() ? { unit: `runner-agent-action-${id}` } : {}) };
  const environment = await layOut({ settings, binary, policy, folder: own.folder });
  const installed = { ...binary, path: path.join(own.folder, 'runner-agent') };
  await verify(installed);
  remember(own, installed);
  await (own.unit ? launchUnit(own, installed) : launchProcess(own, installed, environment));
  remember(own, installed);
  await waitUntilReady(own, installed, settings);
  return installed;
}

async function endProcess(own) {
  if (!Number.isInteger(own.pid) || own.pid < 2 || beginning(own.pid) !== own.began) {
    return;
  }
  if (process.getuid() === 0) {
    process.kill(own.pid, 'SIGTERM');
  } else {
    // The process is sudo's, which passes the signal on.
    await run(asRoot(['kill', '-TERM', String(own.pid)]));
  }
  const deadline = Date.now() + STOP_SECONDS * 1000;
  while (beginning(own.pid) === own.began) {
    if (Date.now() > deadline) {
      throw new Error(`the daemon (pid ${own.pid}) didn't end within ${STOP_SECONDS} s; it was left alone`);
    }
    await pause(20);
  }
}

/** Ends the daemon that was started, and removes what it doesn't need any more. Its logs stay. */
export async function stopDaemon(own, state) {
  if (!/^[0-9a-f]{16}$/.test(own.id) || own.folder !== path.join(state, own.id) || (own.unit && !UNIT.test(own.unit))) {
    throw new Error("the step's state names a daemon that this action can't have started; it was left alone");
  }
  if (own.unit) {
    await run(asRoot(['systemctl', 'stop', own.unit]), { timeout: (STOP_SECONDS + 10) * 1000 });
  } else {
    await endProcess(own);
  }
  const spent = ['runner-agent', 'config.yml', 'environment', 'policies', 'state'].map((name) => path.join(own.folder, name));
  await run(asRoot(['rm', '-rf', '--one-file-system', '--', ...spent]));
}
