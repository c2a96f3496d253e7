// Post: ends the watch, tells what came of it, and fails the job if that was asked for.

import { rmSync, writeFileSync } from 'node:fs';

import * as agent from './agent.mjs';
import { annotateFindings } from './annotations.mjs';
import { appendSummary, error, foreign, notice, say, setOutput, warning } from './commands.mjs';
import { stopDaemon } from './daemon.mjs';
import { load } from './session.mjs';
import { summaryOf, unwatchedSummary } from './summary.mjs';

const STOP_SECONDS = 60;

/** `denied` is no severity; the client is asked for none then, and the account is looked at here. */
const severityOf = (failOn) => (['low', 'medium', 'high'].includes(failOn) ? failOn : 'never');

const count = (value) => (Number.isSafeInteger(value) && value >= 0 ? value : 0);

/** Why this job fails, or `undefined`. */
export function verdictOn(job, over, failOn) {
  if (failOn === 'never') {
    return undefined;
  }
  if (job.verdict === 'tampered') {
    return 'something was done to the agent while this job ran';
  }
  if (over) {
    return `there are findings of severity ${failOn} or above`;
  }
  const refused = count(job.counts?.blocked);
  if (failOn === 'denied' && (refused > 0 || job.verdict === 'blocked')) {
    return `${refused || 'some'} of what this job tried was refused`;
  }
  return undefined;
}

function summarise(session, markdown) {
  if (session.jobSummary && !appendSummary(markdown)) {
    notice('this runner has no job summary; the account stands in the log of this step');
  }
}

function report(session, job) {
  try {
    // A step may have left a link there; it is removed and not followed.
    rmSync(session.report, { force: true });
    writeFileSync(session.report, `${JSON.stringify(job, undefined, 2)}\n`, { mode: 0o600, flag: 'wx' });
  } catch (problem) {
    warning(`${session.report} can't be written: ${problem.code ?? problem.message}`);
  }
}

function tell(session, job, over) {
  const findings = Object.values(job.counts?.findings ?? {}).reduce((sum, value) => sum + count(value), 0);
  const outputs = { verdict: job.verdict, violations: findings, blocked: count(job.counts?.blocked), lost: count(job.counts?.lost) };
  for (const [name, value] of Object.entries(outputs)) {
    setOutput(name, value);
  }
  if (typeof job.summary === 'string') {
    foreign(job.summary);
  }
  report(session, job);
  summarise(session, summaryOf(job));
  annotateFindings(job.findings);
  if (outputs.lost > 0) {
    warning(`${outputs.lost} records were lost: what they told is missing from this account`);
  }
  const reason = verdictOn(job, over, session.failOn);
  if (reason) {
    error(`${reason} (\`fail-on: ${session.failOn}\`)`);
    process.exitCode = 1;
  }
}

/** Nothing can be said about the job: whoever asked for a verdict doesn't get a good one. */
function noAccount(session, problem) {
  setOutput('verdict', 'tampered');
  summarise(session, unwatchedSummary(`the watch began, and its end could not be asked for: ${problem}`));
  const message = `there is no account of this job: runner-agent ${problem}`;
  if (session.failOn === 'never') {
    warning(message);
  } else {
    error(message);
    process.exitCode = 1;
  }
}

async function endJob(session) {
  let result;
  try {
    result = await agent.stop(session.binary, { socket: session.socket, failOn: severityOf(session.failOn), onlyTell: session.job?.joined === true, seconds: STOP_SECONDS });
  } catch (problem) {
    result = { problem: problem.message };
  }
  if (result.problem !== undefined) {
    noAccount(session, result.problem);
  } else {
    tell(session, result.job, result.over);
  }
}

export async function finish() {
  try {
    const session = load();
    if (session.job) {
      await endJob(session);
    } else if (session.unsupported) {
      summarise(session, unwatchedSummary(session.unsupported));
    } else {
      say('nothing was watched');
    }
    if (session.own) {
      await stopDaemon(session.own, session.state);
    }
  } catch (problem) {
    error(problem.message);
    process.exitCode = 1;
  }
}
