// The binary: where it comes from, and that it is the one it was.

import { createHash } from 'node:crypto';
import { closeSync, createReadStream, openSync, statSync, writeSync } from 'node:fs';
import path from 'node:path';

import { RELEASE } from './release.mjs';
import { UnsupportedError, UsageError } from './problem.mjs';

/** Where a package or an image puts it. PATH is not asked: a step can change it. */
const INSTALLED = ['/usr/bin/runner-agent', '/usr/local/bin/runner-agent'];

const LARGEST = 128 * 1024 * 1024;
const DOWNLOAD_TIMEOUT = 120_000;

/** The digest of a file's content. */
export async function digestOf(file) {
  const hash = createHash('sha256');
  // Larger pieces than usual: half the time, which is the job's, several times over.
  for await (const chunk of createReadStream(file, { highWaterMark: 1024 * 1024 })) {
    hash.update(chunk);
  }
  return hash.digest('hex');
}

/** Asked before each start, because between two of them steps of the job have run. */
export async function verify({ path: file, sha256 }) {
  const found = await digestOf(file).catch((problem) => {
    throw new Error(`${file} can't be read (${problem.code ?? problem.message}), so that it can't be verified and wasn't started`);
  });
  if (found !== sha256) {
    throw new Error(`${file} is not the binary it was: its SHA-256 is ${found} and should be ${sha256}; it wasn't started`);
  }
}

async function written({ binaryPath, binarySha256 }) {
  const stat = statSync(binaryPath, { throwIfNoEntry: false });
  if (!stat?.isFile()) {
    throw new UsageError(`\`binary-path\` is ${binaryPath}, and there is no such file; write the path of a runner-agent binary`);
  }
  const found = await digestOf(binaryPath);
  if (binarySha256 !== undefined && binarySha256 !== found) {
    throw new UsageError(`${binaryPath} has the SHA-256 ${found}, and \`binary-sha256\` is ${binarySha256}; one of them is wrong`);
  }
  return { path: binaryPath, sha256: found, from: 'binary-path' };
}

/** An installed binary that root alone can change. */
async function installed(candidates) {
  for (const file of candidates) {
    const stats = [file, path.dirname(file)].map((place) => statSync(place, { throwIfNoEntry: false }));
    if (stats[0]?.isFile() && stats.every((stat) => stat.uid === 0 && (stat.mode & 0o022) === 0)) {
      return { path: file, sha256: await digestOf(file), from: 'installed' };
    }
  }
  return undefined;
}

/** Downloads into a file that nobody may execute; what isn't what it should be never becomes executable. */
async function download(asset, file) {
  const response = await fetch(asset.url, { signal: AbortSignal.timeout(DOWNLOAD_TIMEOUT) });
  if (!response.ok) {
    throw new UnsupportedError(`${asset.url} answered ${response.status}; without network give \`binary-path\``);
  }
  const hash = createHash('sha256');
  let size = 0;
  const out = openSync(file, 'wx', 0o600);
  try {
    for await (const chunk of response.body) {
      size += chunk.length;
      if (size > LARGEST) {
        throw new Error(`${asset.url} has more than ${LARGEST} bytes, which no binary of ours has`);
      }
      hash.update(chunk);
      writeSync(out, chunk);
    }
  } finally {
    closeSync(out);
  }
  const found = hash.digest('hex');
  if (found !== asset.sha256) {
    throw new Error(`${asset.url} has the SHA-256 ${found} and should have ${asset.sha256}; it is not used`);
  }
}

async function released({ version }, folder, release) {
  if (release.version === undefined) {
    throw new UsageError('there is no release of runner-agent yet; build the binary and give its path as `binary-path`');
  }
  if (version !== undefined && version !== release.version) {
    throw new UsageError(`this revision of the action runs runner-agent ${release.version}, and \`version\` is ${version}; pin the revision that runs it, or leave \`version\` out`);
  }
  const asset = release.assets[process.arch];
  if (!asset) {
    const there = Object.keys(release.assets).join(', ');
    throw new UnsupportedError(`runner-agent ${release.version} has no binary for ${process.arch}, only for ${there}; give one as \`binary-path\``);
  }
  const file = path.join(folder, 'runner-agent');
  try {
    await download(asset, file);
  } catch (problem) {
    if (problem instanceof UnsupportedError || problem.cause === undefined) {
      throw problem;
    }
    throw new UnsupportedError(`${asset.url} can't be downloaded: ${problem.cause.code ?? problem.cause.message}; without network give \`binary-path\``);
  }
  return { path: file, sha256: asset.sha256, from: `release ${release.version}` };
}

/**
 * The binary for this step. Where a daemon is installed, the image's own client speaks to it; what is downloaded goes into
 * `folder`, not executable yet.
 */
export async function find(settings, { hasDaemon, folder, release = RELEASE, candidates = INSTALLED }) {
  if (settings.binaryPath) {
    return written(settings);
  }
  if (!hasDaemon) {
    return released(settings, folder, release);
  }
  if (settings.version !== undefined) {
    throw new UsageError('a daemon is on this runner already, so that `version` has nothing to choose; leave it out');
  }
  const image = await installed(candidates);
  if (!image) {
    throw new UsageError(`a daemon is on this runner, and no client of it in ${candidates.join(' or ')}; give its binary as \`binary-path\``);
  }
  return image;
}
