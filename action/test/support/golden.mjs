// Text that a test compares with a file. `UPDATE_GOLDEN=1` writes the files anew, to be looked at in the diff.

import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';

export const GOLDEN = new URL('../golden/', import.meta.url);

export function isGolden(name, text) {
  const file = new URL(name, GOLDEN);
  if (process.env.UPDATE_GOLDEN) {
    writeFileSync(file, text);
  }
  assert.equal(text, readFileSync(file, 'utf8'), `differs from action/test/golden/${name}`);
}
