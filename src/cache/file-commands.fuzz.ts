import fc from 'fast-check';
import { PAGE } from './cache-rig.fuzz.ts';

// What happens to a file, one after the other, for `file-model.fuzz.ts`.

export const MODEL_PAGES = 20;
/** Pages of memory that the process has for its calls. */
export const OWN_PAGES = 8;

export interface FileCommand {
  readonly kind: CommandKind;
  readonly at: number;
  readonly length: number;
  readonly isDirect: boolean;
  /** Page of the process's memory that is missing, or more than it has: none. */
  readonly hole: number;
}

const KINDS = [
  'write',
  'write',
  'write',
  'read',
  'read',
  'truncate',
  'punch',
  'allocate',
  'fsync',
  'reclaim',
  'migrate',
  'store',
  'store',
  'load',
  'pin',
  'dma',
  'unpin',
  'fork',
] as const;
type CommandKind = (typeof KINDS)[number];

const aroundPages = fc
  .tuple(fc.nat(MODEL_PAGES - 1), fc.constantFrom(0, 0, 0, 1, 512, 2048, 4095))
  .map(([page, offset]) => page * PAGE + offset);
const lengths = fc.oneof(
  fc.constantFrom(1, 512, PAGE, 2 * PAGE, 5 * PAGE),
  fc.integer({ min: 0, max: OWN_PAGES * PAGE }),
);

export const fileCommands: fc.Arbitrary<FileCommand[]> = fc.array(
  fc.record({
    kind: fc.constantFrom(...KINDS),
    at: aroundPages,
    length: lengths,
    isDirect: fc.boolean(),
    hole: fc.nat(2 * OWN_PAGES),
  }),
  { minLength: 1, maxLength: 40 },
);
