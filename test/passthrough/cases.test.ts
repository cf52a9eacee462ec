import { join } from 'node:path';
import { runTextCases } from '../../src/testing/text-cases.ts';
import { mapUserCase } from './passthrough-cases.ts';

runTextCases(join(import.meta.dirname, 'cases.txt'), { 'map-user': mapUserCase });
