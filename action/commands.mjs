// What a step says to the runner: lines on standard output that begin with `::`, and files whose names it was given.
//
// Whatever a job chose (a host name, an argument, a program's output) may itself look like such a line. Nothing here prints a
// text that isn't ours without escaping it or telling the runner to stop listening.

import { randomBytes } from 'node:crypto';
import { appendFileSync } from 'node:fs';

/** A text as the message of a command: it ends at the line's end, and `%` begins an escape. */
export function escapeData(text) {
  return printable(text).replaceAll('%', '%25').replaceAll('\r', '%0D').replaceAll('\n', '%0A');
}

/** A text as a property of a command, which also ends at `:` and `,`. */
export function escapeProperty(text) {
  return escapeData(text).replaceAll(':', '%3A').replaceAll(',', '%2C');
}

// Terminal sequences rewrite what a reader sees, and directional marks reorder it; both are shown as what they are.
const INVISIBLE = /[\u0000-\u0008\u000b\u000c\u000e-\u001f\u007f-\u009f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]/g;

/** A text without anything that acts on a terminal or hides from a reader; line ends and tabs stay. */
export function printable(text) {
  return String(text).replace(INVISIBLE, (found) => `\\u{${found.codePointAt(0).toString(16)}}`);
}

/** At most `limit` characters of a text, and a mark where it was cut. */
export function shorten(text, limit) {
  const points = Array.from(String(text));
  return points.length <= limit ? String(text) : `${points.slice(0, limit - 1).join('')}…`;
}

function command(name, properties, message) {
  const written = Object.entries(properties).filter(([, value]) => value !== undefined);
  const list = written.map(([key, value]) => `${key}=${escapeProperty(value)}`).join(',');
  process.stdout.write(`::${name}${list ? ` ${list}` : ''}::${escapeData(message)}\n`);
}

// GitHub cuts longer ones anyway, and without saying so.
const ANNOTATION_LIMIT = 4000;

export function annotate(level, message, title) {
  command(level, { title }, shorten(message, ANNOTATION_LIMIT));
}

export const notice = (message) => annotate('notice', message, 'runner-agent');
export const warning = (message) => annotate('warning', message, 'runner-agent');
export const error = (message) => annotate('error', message, 'runner-agent');

/** Tells the runner to hide a value wherever it prints it. A value of several lines is hidden line by line. */
export function mask(value) {
  for (const line of String(value).split(/\r?\n/).filter((line) => line.trim() !== '')) {
    command('add-mask', {}, line);
  }
}

/** A line of our own for the step's log. */
export function say(message) {
  foreign(message);
}

/** Text that may hold anything, for the step's log: the runner takes no command from it. */
export function foreign(text) {
  const lines = printable(text).replaceAll('\r', '\\r').replace(/\n+$/, '');
  if (!lines.includes('::') && !lines.includes('##[')) {
    process.stdout.write(`${lines}\n`);
    return;
  }
  // Nobody can know the word that makes the runner listen again before it is said.
  const token = randomBytes(16).toString('hex');
  process.stdout.write(`::stop-commands::${token}\n${lines}\n::${token}::\n`);
}

// The delimiter is random, so that no value can end its own block and begin another.
function record(file, name, value) {
  if (!file) {
    return;
  }
  const delimiter = `value-${randomBytes(16).toString('hex')}`;
  appendFileSync(file, `${name}<<${delimiter}\n${value}\n${delimiter}\n`);
}

export const setOutput = (name, value) => record(process.env.GITHUB_OUTPUT, name, String(value));
export const saveState = (name, value) => record(process.env.GITHUB_STATE, name, String(value));

/** Appends to the job's summary; false where this runner has none. */
export function appendSummary(markdown) {
  const file = process.env.GITHUB_STEP_SUMMARY;
  if (file) {
    appendFileSync(file, markdown);
  }
  return Boolean(file);
}
