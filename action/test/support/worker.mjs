// A runner's worker: runs one job, as `node worker.mjs JOB RESULT`, and is the process that a daemon takes for the job.
//
// It does what a runner does for a JavaScript action: reads from action.yml what its stages are, hands inputs over as variables,
// carries what a stage wrote to its files on to the next, and runs the last stage whatever came of the others.

import { spawn } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

import { commandsIn, recordsIn } from './runner.mjs';

const ROOT = fileURLToPath(new URL('../../../', import.meta.url));
const FILES = ['OUTPUT', 'STATE', 'STEP_SUMMARY', 'ENV', 'PATH'];

/** The files of the stages, as action.yml names them. */
function stagesOf(text) {
  const named = (name) => {
    const found = new RegExp(`^  ${name}: (\\S+)$`, 'm').exec(text);
    if (!found) {
      throw new Error(`action.yml names no ${name}`);
    }
    return found[1];
  };
  if (named('post-if') !== 'always()') {
    throw new Error('the last stage is to run always');
  }
  return { pre: named('pre'), main: named('main'), post: named('post') };
}

function ran(program, words, env) {
  const began = performance.now();
  return new Promise((resolve, reject) => {
    const child = spawn(program, words, { env, stdio: ['ignore', 'pipe', 'pipe'] });
    let text = '';
    for (const stream of [child.stdout, child.stderr]) {
      stream.setEncoding('utf8').on('data', (part) => {
        text += part;
      });
    }
    child.once('error', reject);
    child.once('close', (code) => resolve({ code, text, milliseconds: performance.now() - began }));
  });
}

async function work(job) {
  const stages = stagesOf(readFileSync(path.join(ROOT, 'action.yml'), 'utf8'));
  const environment = { ...job.environment };
  const state = {};
  const outputs = {};
  const told = { stages: {}, steps: [], summary: '', annotations: [] };
  const stage = async (name) => {
    const files = Object.fromEntries(FILES.map((file) => [file, path.join(job.folder, `${name}-${file}`)]));
    Object.values(files).forEach((file) => writeFileSync(file, ''));
    const given = Object.entries(job.inputs).map(([input, value]) => [`INPUT_${input.toUpperCase()}`, value]);
    const kept = Object.entries(state).map(([key, value]) => [`STATE_${key}`, value]);
    const named = FILES.map((file) => [`GITHUB_${file}`, files[file]]);
    const result = await ran(process.execPath, [path.join(ROOT, stages[name])], { ...environment, ...Object.fromEntries([...given, ...kept, ...named]) });
    const read = (file) => readFileSync(files[file], 'utf8');
    Object.assign(state, recordsIn(read('STATE')));
    Object.assign(outputs, recordsIn(read('OUTPUT')));
    Object.assign(environment, recordsIn(read('ENV')));
    told.summary += read('STEP_SUMMARY');
    told.annotations.push(...commandsIn(result.text).filter(({ name: level }) => ['error', 'warning', 'notice'].includes(level)));
    told.stages[name] = result;
    return result.code === 0;
  };
  let good = job.bare || ((await stage('pre')) && (await stage('main')));
  for (const words of job.steps) {
    if (good) {
      const step = await ran(words[0], words.slice(1), environment);
      told.steps.push(step);
      good = step.code === 0;
    }
  }
  good = (job.bare || (await stage('post'))) && good;
  return { ...told, outputs, session: JSON.parse(state.session ?? '{}'), good };
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const [, , job, result] = process.argv;
  writeFileSync(result, JSON.stringify(await work(JSON.parse(readFileSync(job, 'utf8')))));
}
