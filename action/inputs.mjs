// The inputs of a step as the runner hands them over, by whichever name they were written.

import { IGNORED, INPUTS, ONLY, REFUSED, SECRET } from './input-names.mjs';
import { UsageError } from './problem.mjs';

const KNOWN = [...Object.values(INPUTS).flatMap((names) => Object.keys(names)), ...Object.keys(IGNORED), ...Object.keys(ONLY)];

/** Every input that was given something, by its name in small letters. */
function given(environment) {
  const found = new Map();
  for (const [key, value] of Object.entries(environment)) {
    if (key.startsWith('INPUT_') && value.trim() !== '') {
      found.set(key.slice('INPUT_'.length).toLowerCase(), value.trim());
    }
  }
  return found;
}

/** The known name that is one or two slips away. */
function near(name) {
  const distance = (a, b) => {
    let row = Array.from({ length: b.length + 1 }, (_, index) => index);
    for (let i = 1; i <= a.length; i += 1) {
      const next = [i];
      for (let j = 1; j <= b.length; j += 1) {
        next.push(Math.min(next[j - 1] + 1, row[j] + 1, row[j - 1] + (a[i - 1] === b[j - 1] ? 0 : 1)));
      }
      row = next;
    }
    return row[b.length];
  };
  return KNOWN.find((known) => distance(name, known) <= 2);
}

function unknown(name) {
  // A word misspelt is a protection that was asked for and isn't there.
  const hint = near(name);
  return `there is no input \`${name}\`; ${hint ? `did you mean \`${hint}\`?` : 'action.yml lists those there are'}`;
}

function resolve(name, names, written, problems) {
  const values = [];
  for (const [alias, read] of Object.entries(names)) {
    if (written.has(alias)) {
      try {
        values.push({ alias, raw: written.get(alias), value: read(written.get(alias), alias) });
      } catch (problem) {
        problems.push(problem.message);
      }
    }
  }
  const [first] = values;
  const other = values.find(({ value }) => value !== first.value);
  if (other) {
    problems.push(`\`${first.alias}\` and \`${other.alias}\` both mean \`${name}\` and say different things; keep one`);
  }
  return first && { value: first.value, alias: first.alias };
}

/**
 * Reads all inputs: `values` by our names, each with the name it was written under; `notices` for people; `secrets` to hide
 * before anything is printed. All that is wrong is thrown at once.
 */
export function readInputs(environment, hide = () => {}) {
  const written = given(environment);
  for (const name of SECRET) {
    if (written.has(name)) {
      hide(written.get(name));
    }
  }
  const problems = [];
  const notices = [];
  for (const [name, value] of written) {
    if (Object.hasOwn(REFUSED, name)) {
      problems.push(`\`${name}\` ${REFUSED[name]}`);
    } else if (Object.hasOwn(IGNORED, name)) {
      notices.push(`\`${name}\` changes nothing: ${IGNORED[name]}`);
    } else if (Object.hasOwn(ONLY, name)) {
      const [right, reason] = ONLY[name];
      if (value.toLowerCase() !== right) {
        problems.push(`\`${name}: ${value}\` can't be done: ${reason}`);
      }
    } else if (!KNOWN.includes(name)) {
      problems.push(unknown(name));
    }
  }
  const values = {};
  for (const [name, names] of Object.entries(INPUTS)) {
    const found = resolve(name, names, written, problems);
    if (found) {
      values[name] = found;
    }
  }
  if (problems.length > 0) {
    throw new UsageError(problems.join('\n'));
  }
  return { values, notices };
}
