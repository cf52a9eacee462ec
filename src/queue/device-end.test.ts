import assert from 'node:assert/strict';
import { test } from 'node:test';
import { BioOp } from '../bio/bio-op.ts';
import { DEFAULT_LIMITS } from '../limits/limits.ts';
import { QueueWorld, type Row } from './queue-world.fuzz.ts';

// Linux fails a bio that passes the end of its device when it is submitted (bio_check_eod), before
// it can meet others. Here the engine fails it, so it must get there alone.

function pageAt(page: number): Row[] {
  return [{ page, offset: 0, len: 4096 }];
}

test('a bio that passes the end of a device that cannot grow joins nothing', () => {
  const END = 80; // Sectors.
  // Bios of 8 sectors in the order of their starts; what reaches the engine must be `issued`.
  const cases: readonly (readonly [starts: number[], issued: string[]])[] = [
    [[64, 72], ['64+16']],
    [
      [72, 80],
      ['72+8', '80+8'],
    ], // It begins where the device ends.
    [
      [80, 72],
      ['80+8', '72+8'],
    ],
    [
      [68, 76],
      ['68+8', '76+8'],
    ], // It begins inside and passes the end.
    [
      [64, 72, 80, 88],
      ['64+16', '80+8', '88+8'],
    ],
  ];
  for (const op of [BioOp.READ, BioOp.WRITE]) {
    for (const isPlugged of [true, false]) {
      for (const [starts, issued] of cases) {
        const world = new QueueWorld({ limits: DEFAULT_LIMITS, sizeBytes: END * 512 });
        if (isPlugged) world.queue.startPlug();
        else world.accept = () => 0; // They meet among those that wait for the engine.
        starts.forEach((sector, i) => {
          world.submit(world.build(op, sector, pageAt(2 * i)));
        });
        if (isPlugged) world.quietly(() => world.queue.finishPlug(true));
        world.accept = (count) => count;
        world.quietly(() => world.queue.resume());
        const got = world.issued.map((line) => line.split(' ')[1] ?? '');
        assert.deepEqual(got.sort(), [...issued].sort(), `${op}: ${starts}`);
        world.finish();
      }
    }
  }
});

test('a device that can grow has no end: what lies behind it is merged', () => {
  const world = new QueueWorld({ limits: DEFAULT_LIMITS });
  world.queue.startPlug();
  for (const sector of [72, 80]) world.submit(world.build(BioOp.WRITE, sector, pageAt(sector)));
  world.quietly(() => world.queue.finishPlug());
  assert.equal(world.queue.counters.merges, 1);
  world.finish();
});
