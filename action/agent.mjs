// `runner-agent job`: the client side, as commands that are run and answers that are checked.

import { verify } from './binary.mjs';
import { forClient } from './environment.mjs';
import { complaint, run } from './spawn.mjs';

const SCHEMA = 'runner-agent/job/1';
/** What was asked is wrong. Every other code, 125 above all, means that nothing is watched. */
const WRONG = 2;
/** Findings at or above `--fail-on`. */
const FINDINGS = 3;

/** What the process has on top of the deadline that the client keeps itself. */
const GRACE = 10_000;

async function job(binary, words, seconds) {
  await verify(binary);
  return run([binary.path, 'job', ...words], { environment: forClient(process.env), timeout: seconds * 1000 + GRACE });
}

function answer(result) {
  let value;
  try {
    value = JSON.parse(result.stdout);
  } catch {
    throw new Error(`runner-agent ${complaint(result)}, and what it wrote is no JSON`);
  }
  if (value?.schema !== SCHEMA) {
    throw new Error(`runner-agent speaks ${JSON.stringify(value?.schema)}, and this action ${JSON.stringify(SCHEMA)}; use the two of one release`);
  }
  return value;
}

/** Whether a daemon answers. */
export async function answers(binary, socket) {
  const result = await job(binary, ['status', '--socket', socket, '--format', 'json'], 5);
  return { yes: result.code === 0, complaint: complaint(result) };
}

/** Asks for this job to be watched. `problem` is why it isn't, `wrong` if the request itself is at fault. */
export async function start(binary, { socket, mode, policies, worker, join, seconds }) {
  const words = ['start', '--socket', socket, '--deadline', String(seconds), '--on-failure', 'fail'];
  words.push(...(mode ? ['--mode', mode] : []), ...policies.flatMap((file) => ['--policy', file]));
  words.push('--worker', String(worker), ...(join ? ['--join'] : []), '--format', 'json');
  const result = await job(binary, words, seconds);
  if (result.code !== 0) {
    return { problem: complaint(result), wrong: result.code === WRONG };
  }
  const value = answer(result);
  return value.state === 'running' ? { job: value } : { problem: value.reason ?? `its state is ${value.state}` };
}

/** Ends the job's watch, or only asks what came of it where somebody else began it: `job` is the account, `over` whether findings reach `failOn`, `problem` why there is none. */
export async function stop(binary, { socket, failOn, onlyTell, seconds }) {
  const words = ['stop', '--socket', socket, '--deadline', String(seconds), '--fail-on', failOn, ...(onlyTell ? ['--only-tell'] : []), '--format', 'json'];
  const result = await job(binary, words, seconds);
  if (result.code !== 0 && result.code !== FINDINGS) {
    return { problem: complaint(result) };
  }
  return { job: answer(result), over: result.code === FINDINGS };
}
