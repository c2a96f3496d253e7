import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { chmodSync, existsSync, mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs';
import http from 'node:http';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { test } from 'node:test';

import { find, verify } from '../binary.mjs';
import { RELEASE } from '../release.mjs';
import { needsRoot } from './support/runner.mjs';

const BODY = Buffer.from('a binary');
const SHA256 = createHash('sha256').update(BODY).digest('hex');

async function place(t, answer = (response) => response.end(BODY)) {
  const folder = mkdtempSync(path.join(tmpdir(), 'action-'));
  const server = http.createServer((_, response) => answer(response));
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.after(() => {
    server.closeAllConnections();
    server.close();
    rmSync(folder, { recursive: true, force: true });
  });
  const url = `http://127.0.0.1:${server.address().port}/runner-agent`;
  const release = (sha256) => ({ version: '1.2.3', assets: { [process.arch]: { url, sha256 } } });
  return { folder, release, file: path.join(folder, 'runner-agent') };
}

test('the table of releases is empty, or has a digest and an address for every architecture', () => {
  for (const { url, sha256 } of Object.values(RELEASE.assets)) {
    assert.match(sha256, /^[0-9a-f]{64}$/);
    assert.match(url, /^https:\/\//);
  }
  assert.equal(RELEASE.version === undefined, Object.keys(RELEASE.assets).length === 0);
});

test('what is downloaded and has its digest is taken, and not executable yet', async (t) => {
  const { folder, release, file } = await place(t);
  const found = await find({}, { hasDaemon: false, folder, release: release(SHA256) });
  assert.deepEqual(found, { path: file, sha256: SHA256, from: 'release 1.2.3' });
  assert.equal(statSync(file).mode & 0o777, 0o600);
  await verify(found);
});

test('what has another digest is not taken', async (t) => {
  const { folder, release } = await place(t);
  await assert.rejects(find({}, { hasDaemon: false, folder, release: release('0'.repeat(64)) }), /should have 0{64}; it is not used/);
});

test('a download that fails names the way without network', async (t) => {
  const missing = await place(t, (response) => response.writeHead(404).end());
  await assert.rejects(find({}, { hasDaemon: false, folder: missing.folder, release: missing.release(SHA256) }), /answered 404; without network give `binary-path`/);
  const broken = await place(t, (response) => response.destroy());
  await assert.rejects(find({}, { hasDaemon: false, folder: broken.folder, release: broken.release(SHA256) }), /can't be downloaded.*`binary-path`/);
});

test('another version than the pinned one, and another architecture, are errors', async (t) => {
  const { folder, release } = await place(t);
  const options = { hasDaemon: false, folder };
  await assert.rejects(find({ version: '1.0.0' }, { ...options, release: release(SHA256) }), /runs runner-agent 1\.2\.3, and `version` is 1\.0\.0/);
  await assert.rejects(find({}, { ...options, release: { version: '1.2.3', assets: { other: {} } } }), /no binary for .*, only for other/);
});

test('beside a daemon, the client is the one that root has installed', { skip: needsRoot }, async (t) => {
  const { folder, file } = await place(t);
  const options = { hasDaemon: true, folder, candidates: [file] };
  await assert.rejects(find({}, options), /no client of it/);
  writeFileSync(file, BODY);
  assert.equal((await find({}, options)).from, 'installed');
  await assert.rejects(find({ version: '1.2.3' }, options), /`version` has nothing to choose/);
  chmodSync(file, 0o777);
  await assert.rejects(find({}, options), /no client of it/, 'what others can write is not taken');
});

test('a file that has changed, or is gone, is not what it was', async (t) => {
  const { file } = await place(t);
  assert.ok(!existsSync(file));
  await assert.rejects(verify({ path: file, sha256: SHA256 }), /can't be read \(ENOENT\)/);
  writeFileSync(file, 'another binary');
  await assert.rejects(verify({ path: file, sha256: SHA256 }), /is not the binary it was/);
});
