import { test } from 'node:test';
import type { FileCommand } from './file-commands.fuzz.ts';
import { runCommands } from './file-model.fuzz.ts';

// A folio of four pages becomes dirty while the file ends in its first; then a write far behind
// moves the end, so that three pages of zeros are in the file that nobody reserved a block for. On
// a device that is full by then they stay holes, and fsync comes to an end.
test('pages of a dirty folio that come into the file later need no block', async () => {
  const none = { isDirect: false, hole: 0 };
  const commands: FileCommand[] = [
    { ...none, kind: 'write', at: 49152, length: 1, hole: 1 },
    { ...none, kind: 'write', at: 0, length: 20480, hole: 5 },
    { ...none, kind: 'store', at: 28672, length: 20480 },
    { ...none, kind: 'truncate', at: 34816, length: 1 },
    { ...none, kind: 'write', at: 49152, length: 16385, hole: 5 },
  ];
  const rig = { frames: 48, blocks: 14, seed: 0 };
  await runCommands(commands, rig, { folioOrder: 2 }, { isAmple: false });
});
