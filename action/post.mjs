// After the last step of the job, whatever came of it.

import { finish } from './finish.mjs';

await finish();
