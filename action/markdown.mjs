// Foreign text in Markdown: it shows as what it is, and means nothing.

import { printable, shorten } from './commands.mjs';

const LONGEST = 300;

/**
 * A text as inline code. Everything but letters, digits and a few harmless signs is a character reference, which Markdown
 * never takes for structure: no table cell ends early, no link or image begins, no HTML is made.
 */
export function code(text) {
  const plain = printable(shorten(text ?? '', LONGEST)).replace(/[\r\n\t]+/g, ' ');
  return plain === '' ? '–' : `<code>${references(plain)}</code>`;
}

function references(text) {
  return text.replace(/[^A-Za-z0-9 ,/-]/gu, (found) => `&#${found.codePointAt(0)};`);
}

/** A text of several lines as it stands. */
export function block(text) {
  return `<pre>${printable(text).split('\n').map(references).join('\n')}</pre>`;
}

/** A table; cells are Markdown already. */
export function table(heads, rows) {
  const line = (cells) => `| ${cells.join(' | ')} |`;
  return [line(heads), line(heads.map(() => '---')), ...rows.map(line)].join('\n');
}

/** The sections that fit into `budget` bytes; from the first that doesn't, the rest is left out, and `rest` says so. */
export function fit(sections, budget, rest) {
  const kept = [];
  let size = 0;
  for (const [index, section] of sections.entries()) {
    const text = `${section}\n\n`;
    size += Buffer.byteLength(text);
    // What says that something is missing has to fit as well.
    if (size > budget - 1024) {
      kept.push(`${rest(sections.length - index)}\n`);
      break;
    }
    kept.push(text);
  }
  return kept.join('');
}
