// Programs, started with a list of arguments, never through a shell, and with an end.

import { spawn } from 'node:child_process';

import { base } from './environment.mjs';

const MOST_OUTPUT = 32 * 1024 * 1024;
const MOST_ERRORS = 256 * 1024;

/** The arguments that run a program as root: as they are for root itself, else through sudo, which must not ask. */
export function asRoot(argv, uid = process.getuid()) {
  return uid === 0 ? argv : ['sudo', '-n', '--', ...argv];
}

/**
 * Runs a program to its end. The result has its exit code (`undefined` if a signal or the timeout ended it) and what it
 * wrote; a program that can't be started has `failed`.
 */
export function run(argv, { environment = base(), timeout = 30_000 } = {}) {
  return new Promise((resolve) => {
    const [program, ...rest] = argv;
    const child = spawn(program, rest, { env: environment, stdio: ['ignore', 'pipe', 'pipe'], cwd: '/' });
    const read = { stdout: [], stderr: [] };
    const sizes = { stdout: 0, stderr: 0 };
    let why;
    const end = (reason) => {
      why ??= reason;
      child.kill('SIGKILL');
    };
    const timer = setTimeout(() => end(`didn't end within ${timeout / 1000} s`), timeout);
    for (const [name, most] of [['stdout', MOST_OUTPUT], ['stderr', MOST_ERRORS]]) {
      child[name].on('data', (chunk) => {
        sizes[name] += chunk.length;
        if (sizes[name] <= most) {
          read[name].push(chunk);
        } else if (name === 'stdout') {
          end(`wrote more than ${most} bytes`);
        }
      });
    }
    const text = (name) => Buffer.concat(read[name]).toString('utf8');
    const finish = (result) => {
      clearTimeout(timer);
      resolve({ stdout: text('stdout'), stderr: text('stderr'), ...result });
    };
    child.on('error', (problem) => finish({ failed: problem.code ?? problem.message }));
    child.on('close', (code, signal) => finish({ code: why || signal ? undefined : code, why: why ?? (signal ? `was ended by ${signal}` : undefined) }));
  });
}

/** Why a program that ran didn't do what it was asked, in the words it had. */
export function complaint({ code, failed, why, stderr }) {
  const words = stderr.trim();
  const how = failed ? `can't be started (${failed})` : (why ?? `ended with ${code}`);
  return words ? `${how}: ${words}` : how;
}
