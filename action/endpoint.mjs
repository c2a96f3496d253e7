// One entry of an allow-list: `HOST`, `HOST:PORT`, `ADDRESS:PORT`, `[IPV6]:PORT`, `NETWORK`.
//
// This is the strict reading that every dialect ends in: an exact name, or `*.` and a suffix, which means every name below it
// and not the suffix itself.

import { network } from './address.mjs';
import { UsageError } from './problem.mjs';

/** Ports of a rule: `any`, or a list of numbers and ranges. */
export function ports(text, entry) {
  if (text === '*') {
    return 'any';
  }
  const [from, to, ...more] = text.split('-');
  const isPort = (word) => /^\d{1,5}$/.test(word) && Number(word) >= 1 && Number(word) <= 65535;
  if (!isPort(from) || more.length > 0 || (to !== undefined && (!isPort(to) || Number(to) < Number(from)))) {
    throw new UsageError(`"${entry}" has "${text}" for a port; write a number from 1 to 65535, a range such as 8000-8010, or *`);
  }
  return [to === undefined ? String(Number(from)) : `${Number(from)}-${Number(to)}`];
}

/** The target of an entry, and its ports as they are written (`undefined` if they aren't). */
export function split(entry) {
  const bracketed = /^\[([^\]]*)\](?::(.+))?$/.exec(entry);
  if (bracketed) {
    const found = network(bracketed[1]);
    if (found?.length !== 128) {
      throw new UsageError(`"${entry}" has no IPv6 address in its brackets; write it as in [2001:db8::1]:443`);
    }
    return { network: found, ports: bracketed[2] };
  }
  // With a port behind its length it is no network yet.
  const whole = /\/.*:/.test(entry) ? undefined : network(entry);
  if (whole) {
    return { network: whole, ports: undefined, bare: true };
  }
  const at = entry.lastIndexOf(':');
  const target = at < 0 ? entry : entry.slice(0, at);
  if (target.includes(':') || entry.includes('//')) {
    throw new UsageError(`"${entry}" is no host and port; write HOST:PORT without a scheme, and IPv6 in brackets: [2001:db8::1]:443`);
  }
  const written = at < 0 ? undefined : entry.slice(at + 1);
  const found = network(target);
  return found ? { network: found, ports: written } : { host: hostName(target, entry), ports: written };
}

/** A host name or `*.suffix`, in the form in which policies have it. */
export function hostName(text, entry = text) {
  const name = text.replace(/\.$/, '').toLowerCase();
  if (/[^\x00-\x7f]/.test(name)) {
    throw new UsageError(`"${entry}" isn't ASCII; write the name in its xn-- form, as it stands in DNS`);
  }
  if (name === '' || /[/@?#\s:[\]]/.test(name)) {
    throw new UsageError(`"${entry}" is no host name; write the name alone, without scheme, user or path`);
  }
  if (name.startsWith('**.') || name === '*' || name === '**') {
    throw new UsageError(`"${entry}" would match every name, or is meant to; write *.SUFFIX, which means every name below SUFFIX`);
  }
  const isWildcard = name.startsWith('*.');
  const labels = (isWildcard ? name.slice(2) : name).split('.');
  if (name.slice(isWildcard ? 1 : 0).includes('*')) {
    throw new UsageError(`"${entry}" has a star where none can stand; only the whole first label may be one, as in *.example.org`);
  }
  if (isWildcard && labels.length < 2) {
    throw new UsageError(`"${entry}" means a whole top-level domain; name at least two labels after the star`);
  }
  if (name.length > 253 || !labels.every((label) => /^[a-z0-9_-]{1,63}$/.test(label))) {
    throw new UsageError(`"${entry}" is no host name; labels have 1 to 63 letters, digits, hyphens or underscores`);
  }
  // `10.0.0` or `1.2.3.256` is a slip of the pen and no name: no top-level domain is a number.
  if (/^\d+$/.test(labels.at(-1))) {
    throw new UsageError(`"${entry}" is neither an address nor a name; write an address as in 198.51.100.7`);
  }
  return name;
}
