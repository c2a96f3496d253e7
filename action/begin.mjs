// Pre and main: the job is being watched when one of them has ended well.
//
// Pre runs before the first step of the job, but a local action has none, and a policy from the repository isn't there yet.
// So main does whatever pre didn't.

import { rmSync, statSync, writeFileSync } from 'node:fs';
import path from 'node:path';

import * as agent from './agent.mjs';
import { find } from './binary.mjs';
import { error, mask, notice, say, setOutput, warning } from './commands.mjs';
import { staging, startDaemon } from './daemon.mjs';
import { secretsOf } from './environment.mjs';
import { readInputs } from './inputs.mjs';
import { UnsupportedError, UsageError } from './problem.mjs';
import { notYet, requestOf } from './request.mjs';
import { fingerprint, load, save } from './session.mjs';
import { failOnOf, settle } from './settings.mjs';

function checkRunner() {
  if (process.platform !== 'linux') {
    throw new UnsupportedError(`runner-agent watches Linux, and this runner is ${process.platform}; use a Linux runner`);
  }
  // What `docker exec` starts has its parent in another pid namespace.
  if (process.ppid === 0) {
    throw new UnsupportedError("this job runs in a container, where its runner can't be seen; run the job without `container:`, or let the runner's hooks start the watch");
  }
}

/** Whether a daemon's socket is there. Only root may have put it there: whoever else did would answer what he likes. */
function hasDaemon(socket) {
  const stat = statSync(socket, { throwIfNoEntry: false });
  if (!stat) {
    return false;
  }
  const folder = statSync(path.dirname(socket));
  if (!stat.isSocket() || folder.uid !== 0 || (folder.mode & 0o022) !== 0) {
    throw new Error(`${socket} is no socket in a folder that only root can write to; name the daemon's own as \`socket-path\``);
  }
  return true;
}

/** Asks the daemon that is there. The runner's hooks may have begun the job already. */
async function askDaemon(settings, request, binary) {
  const status = await agent.answers(binary, settings.socket);
  if (!status.yes) {
    throw new UnsupportedError(`${settings.socket} is there, and no daemon answers (${status.complaint}); start the service again, or remove the socket if it was left behind`);
  }
  if (!settings.secretFiles) {
    throw new UsageError('`disable-file-monitoring` would widen the policy of the daemon on this runner, which decides; leave it out');
  }
  if (!request.saysSomething) {
    return start(settings, request, binary, [], { join: true });
  }
  const stage = staging();
  try {
    const file = path.join(stage, 'workflow.yml');
    writeFileSync(file, request.policy, { mode: 0o600, flag: 'wx' });
    return await start(settings, request, binary, [file], { join: true });
  } finally {
    rmSync(stage, { recursive: true, force: true });
  }
}

async function start(settings, request, binary, policies, { join } = { join: false }) {
  const { socket, startTimeout: seconds } = settings;
  const result = await agent.start(binary, { socket, mode: request.mode, policies, worker: process.ppid, join, seconds });
  if (result.wrong) {
    throw new UsageError(`runner-agent refuses what it was asked: ${result.problem}`);
  }
  if (result.problem !== undefined) {
    throw new UnsupportedError(`not armed: ${result.problem}`);
  }
  return result.job;
}

/** What was asked and isn't so, although the job is watched. */
function shortfall(settings, request, job) {
  if (request.mode === 'block' && job.mode !== 'block') {
    return `asked for mode block, and the job runs in mode ${job.mode}: nothing is refused`;
  }
  if ((settings.sudo || settings.containers) && job.mode === 'block' && job.tier !== 'tracing') {
    return `asked for sudo or containers to be refused, which the ${job.tier} tier can't: it only tells`;
  }
  return undefined;
}

function tellOutputs(session) {
  setOutput('effective-mode', session.effective);
  const { job, report } = session;
  if (job) {
    const outputs = { 'job-id': job.job, trust: job.trust, tier: job.tier, 'policy-sha256': job.policy_sha256, 'log-path': job.log, 'receipt-path': job.receipt, 'report-path': report };
    for (const [name, value] of Object.entries(outputs)) {
      setOutput(name, value ?? '');
    }
  }
}

async function arm(settings, request, session) {
  checkRunner();
  const there = hasDaemon(settings.socket);
  const stage = staging();
  try {
    let binary = await find(settings, { hasDaemon: there, folder: stage });
    say(`binary: ${binary.from}, SHA-256 ${binary.sha256}`);
    const remember = (own, started) => save(Object.assign(session, { own, binary: started }));
    if (!there) {
      binary = await startDaemon(settings, binary, request.policy, remember);
    }
    session.binary = binary;
    session.job = there ? await askDaemon(settings, request, binary) : await start(settings, request, binary, []);
  } finally {
    rmSync(stage, { recursive: true, force: true });
  }
  const { job } = session;
  session.effective = job.mode;
  session.failOn = failOnOf(settings, job.mode);
  session.report = path.join(process.env.RUNNER_TEMP || '/tmp', 'runner-agent-report.json');
  save(session);
  say(`job ${job.job} is watched: mode ${job.mode}, tier ${job.tier}, policy ${job.policy} (${job.policy_sha256}), trust ${job.trust} (${job.trust_reason})`);
  const missing = shortfall(settings, request, job);
  if (missing) {
    throw new UnsupportedError(missing);
  }
}

/** The job goes on without what it asked for, because its workflow says that it may. */
function goOnWithout(problem, session) {
  session.effective ??= 'none';
  session.unsupported = problem.message;
  save(session);
  warning(session.effective === 'none' ? `THIS JOB IS NOT WATCHED: ${problem.message}` : problem.message);
}

async function stageOf(name, session) {
  const environment = process.env;
  secretsOf(environment).forEach(mask);
  const { values, notices } = readInputs(environment, mask);
  const workspace = environment.GITHUB_WORKSPACE;
  const settled = settle(values, workspace);
  const { settings } = settled;
  const isFirst = session.asked === undefined;
  const deferred = name === 'pre' ? notYet(settings, workspace) : undefined;
  if (deferred) {
    say(`the watch begins at this action's own step: ${deferred}`);
    return;
  }
  const request = requestOf(settings, isFirst ? warning : () => {});
  if (!isFirst) {
    if (!session.effective) {
      throw new Error('the watch failed before the first step of the job');
    }
    if (session.asked !== fingerprint(settings, request.policy)) {
      throw new UsageError('the inputs are others than before the first step, when the watch began; write them without values that earlier steps give');
    }
    if (session.unsupported) {
      warning(session.effective === 'none' ? `THIS JOB IS NOT WATCHED: ${session.unsupported}` : session.unsupported);
    }
    return;
  }
  notices.concat(settled.notices).forEach(notice);
  settled.warnings.forEach(warning);
  Object.assign(session, { asked: fingerprint(settings, request.policy), socket: settings.socket, state: settings.state, jobSummary: settings.jobSummary });
  try {
    await arm(settings, request, session);
  } catch (problem) {
    if (!(problem instanceof UnsupportedError) || settings.failOnUnsupported) {
      throw problem;
    }
    goOnWithout(problem, session);
  }
}

/** Runs one of the two stages to its end; what goes wrong fails the step. */
export async function begin(name) {
  let session = {};
  try {
    session = load();
    await stageOf(name, session);
  } catch (problem) {
    error(problem instanceof UnsupportedError ? `${problem.message}; with \`fail-on-unsupported: false\` the job goes on without it` : problem.message);
    session.effective ??= 'none';
    process.exitCode = 1;
  }
  if (session.effective) {
    tellOutputs(session);
  }
}
