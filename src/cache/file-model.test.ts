import { test } from 'node:test';
import fc from 'fast-check';
import { RUNS } from '../base/runs.fuzz.ts';
import type { RigOptions } from './cache-rig.fuzz.ts';
import { fileCommands } from './file-commands.fuzz.ts';
import { runCommands } from './file-model.fuzz.ts';
import type { ExtentFileOptions } from './file-options.ts';

async function check(
  rig: RigOptions,
  file: Partial<ExtentFileOptions>,
  isAmple: boolean,
): Promise<void> {
  const property = fc.asyncProperty(fileCommands, fc.nat(1000), (commands, seed) =>
    runCommands(commands, { ...rig, seed }, file, { isAmple }),
  );
  await fc.assert(property, { numRuns: Math.ceil(RUNS.numRuns / 5) });
}

test('with room for everything: every byte and every count', async () => {
  await check({}, {}, true);
});

test('larger folios', async () => {
  await check({}, { folioOrder: 3 }, true);
});

test('a narrow device with one bio and one request at a time', async () => {
  const limits = { logical_block_size: 4096, max_hw_sectors: 8 };
  await check({ bios: 1, depth: 1, limits }, {}, true);
});

test('little memory', async () => {
  await check({ frames: 40, swapPages: 64 }, { folioOrder: 2 }, false);
});

test('a device that is soon full', async () => {
  await check({ blocks: 12, frames: 48 }, { folioOrder: 2 }, false);
});

test('a faulty disk', async () => {
  await check({ rates: { error: 0.2, short: 0.2, torn: 0.5 } }, {}, false);
});

test('a faulty disk, little memory, a full device, copies of pinned pages', async () => {
  const rates = { error: 0.1, short: 0.2, torn: 0.5, slow: 0.2 };
  await check({ rates, frames: 48, blocks: 14 }, { folioOrder: 2, stableWrites: true }, false);
});

test('unstable pages and a writer that waits early', async () => {
  await check({}, { stablePages: false, dirtyPagesMax: 2 }, true);
});
