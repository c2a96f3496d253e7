// What pre, main and post hand on to each other: through the runner, which keeps a step's state for itself.

import { createHash } from 'node:crypto';

import { saveState } from './commands.mjs';

const NAME = 'session';

/** What an earlier stage of this step has saved. */
export function load() {
  const text = process.env[`STATE_${NAME}`];
  if (!text) {
    return {};
  }
  try {
    return JSON.parse(text);
  } catch {
    throw new Error("the step's state can't be read; it was changed by somebody else");
  }
}

export function save(session) {
  saveState(NAME, JSON.stringify(session));
}

/** A word for what was asked, the same only if it is the same. */
export function fingerprint(settings, policy) {
  return createHash('sha256').update(JSON.stringify([settings, policy])).digest('hex');
}
