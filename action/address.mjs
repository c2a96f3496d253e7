// Addresses and networks as they stand in an allow-list.

import { isIPv4, isIPv6 } from 'node:net';

import { UsageError } from './problem.mjs';

/** The bits of an IPv4 or IPv6 address, or `undefined` for anything else. */
export function bitsOf(text) {
  if (isIPv4(text)) {
    return { bits: text.split('.').reduce((sum, part) => (sum << 8n) | BigInt(part), 0n), length: 32 };
  }
  // A zone (`%eth0`) is about one machine's interfaces.
  if (!isIPv6(text) || text.includes('%')) {
    return undefined;
  }
  let plain = text;
  const tail = text.slice(text.lastIndexOf(':') + 1);
  if (tail.includes('.')) {
    const four = bitsOf(tail).bits;
    plain = `${text.slice(0, text.lastIndexOf(':') + 1)}${(four >> 16n).toString(16)}:${(four & 0xffffn).toString(16)}`;
  }
  const [head, rest] = plain.split('::');
  const words = (part) => (part ? part.split(':') : []);
  const missing = 8 - words(head).length - words(rest).length;
  const all = rest === undefined ? words(head) : [...words(head), ...Array(missing).fill('0'), ...words(rest)];
  return { bits: all.reduce((sum, word) => (sum << 16n) | BigInt(`0x${word || '0'}`), 0n), length: 128 };
}

function textOf(bits, length) {
  if (length === 32) {
    return [24n, 16n, 8n, 0n].map((shift) => (bits >> shift) & 0xffn).join('.');
  }
  const words = [];
  for (let shift = 112n; shift >= 0n; shift -= 16n) {
    words.push(((bits >> shift) & 0xffffn).toString(16));
  }
  // The URL parser knows the canonical form (RFC 5952).
  return new URL(`http://[${words.join(':')}]`).hostname.slice(1, -1);
}

/** `ADDRESS` or `ADDRESS/LENGTH` as a network, or `undefined` if the text is no address at all. */
export function network(text) {
  const [address, written, ...more] = text.split('/');
  const found = bitsOf(address);
  if (!found) {
    return undefined;
  }
  const prefix = written === undefined ? found.length : Number(written);
  if (more.length > 0 || (written !== undefined && !/^\d{1,3}$/.test(written)) || prefix > found.length) {
    throw new UsageError(`"${text}" is no network; write an address and a length, as in 198.51.100.0/24`);
  }
  if (found.length === 128 && found.bits >> 32n === 0xffffn) {
    throw new UsageError(`"${text}" is IPv4 written as IPv6; write the IPv4 address alone`);
  }
  const rest = BigInt(found.length - prefix);
  const first = (found.bits >> rest) << rest;
  if (first !== found.bits) {
    throw new UsageError(`"${text}" has bits set after the first ${prefix}; write ${textOf(first, found.length)}/${prefix}`);
  }
  return { cidr: `${textOf(first, found.length)}/${prefix}`, bits: first, prefix, length: found.length };
}

// The networks of runner-agent's own table that are not the internet. Where credentials are handed out is not among them: the
// binary refuses a rule that means such an address without saying so.
const SPECIAL = [
  ['127.0.0.0/8', 'loopback'],
  ['10.0.0.0/8', 'private'],
  ['172.16.0.0/12', 'private'],
  ['192.168.0.0/16', 'private'],
  ['100.64.0.0/10', 'private'],
  ['192.0.0.0/24', 'private'],
  ['198.18.0.0/15', 'private'],
  ['255.255.255.255/32', 'multicast'],
  ['240.0.0.0/4', 'private'],
  ['169.254.0.0/16', 'link-local'],
  ['224.0.0.0/4', 'multicast'],
  ['::1/128', 'loopback'],
  ['::/128', 'unspecified'],
  ['fc00::/7', 'private'],
  ['fe80::/10', 'link-local'],
  ['fec0::/10', 'private'],
  ['ff00::/8', 'multicast'],
].map(([text, name]) => ({ ...network(text), name }));

/** What kind of place a network wholly lies in. */
export function classOf(found) {
  // 0.0.0.0/0 is a network that holds 0.0.0.0/8 and not one inside it.
  if (found.length === 32 && found.prefix >= 8 && found.bits >> 24n === 0n) {
    return 'unspecified';
  }
  const holds = (wide) =>
    wide.length === found.length &&
    wide.prefix <= found.prefix &&
    found.bits >> BigInt(found.length - wide.prefix) === wide.bits >> BigInt(wide.length - wide.prefix);
  return SPECIAL.find(holds)?.name ?? 'public';
}
