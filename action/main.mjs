// The step itself: what pre didn't do, and the outputs.

import { begin } from './begin.mjs';

await begin('main');
