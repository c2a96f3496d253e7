// Before the first step of the job.

import { begin } from './begin.mjs';

await begin('pre');
