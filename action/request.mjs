// What this step asks a daemon for: a policy, and the mode that must come of it.

import { readFileSync, statSync } from 'node:fs';
import path from 'node:path';

import { policyText, readRules } from './policy.mjs';
import { UsageError } from './problem.mjs';

const LARGEST_POLICY = 256 * 1024;

/** The mode that a policy file names at its top level, if it does in the usual way. */
export function modeOf(text) {
  return /^mode:[ \t]*["']?(audit|block)["']?[ \t]*(?:#.*)?\r?$/m.exec(text)?.[1];
}

function policyFile(file) {
  const stat = statSync(file, { throwIfNoEntry: false });
  if (!stat?.isFile()) {
    throw new UsageError(`\`policy\` is ${file}, and there is no such file; write a path in the repository, after the checkout. There is no service that keeps policies by name`);
  }
  if (stat.size > LARGEST_POLICY) {
    throw new UsageError(`\`policy\` is ${file}, which has ${stat.size} bytes; a policy has at most ${LARGEST_POLICY}`);
  }
  return readFileSync(file, 'utf8');
}

/**
 * The policy's text, the mode asked for, and whether the inputs say anything that a daemon's own policy doesn't. `tell` hears
 * what people should know.
 */
export function requestOf(settings, tell) {
  if (settings.policyFile) {
    const policy = policyFile(settings.policyFile);
    const named = modeOf(policy);
    if (settings.mode === 'audit' && named === 'block') {
      tell('`egress-policy: audit` overrides the `mode: block` of the policy file: nothing is refused');
    }
    return { policy, mode: settings.mode ?? named, saysSomething: true };
  }
  const rules = readRules(settings, tell);
  const saysSomething = rules.length > 0 || settings.sudo || settings.containers;
  return { policy: policyText({ ...settings, rules }), mode: settings.mode, saysSomething };
}

/** Why this can't be asked before the job's first step, or `undefined`. */
export function notYet(settings, workspace) {
  const isInside = (file) => Boolean(workspace) && !path.relative(workspace, file).startsWith('..');
  for (const [name, file] of [['policy', settings.policyFile], ['binary-path', settings.binaryPath]]) {
    // In the workspace there is nothing before the checkout, or what an earlier job has left.
    if (file && (isInside(file) || !statSync(file, { throwIfNoEntry: false }))) {
      return `\`${name}\` comes with the checkout or an earlier step`;
    }
  }
  return undefined;
}
