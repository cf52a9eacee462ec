import { join } from 'node:path';
import { runTextCases } from '../../src/testing/text-cases.ts';
import { QUEUE_HANDLERS } from './queue-cases.ts';

for (const name of ['split.txt', 'merge.txt']) {
  runTextCases(join(import.meta.dirname, name), QUEUE_HANDLERS);
}
