import { BioOp } from '../src/bio/bio-op.ts';
import type { Bio } from '../src/bio/bio.ts';
import { addSegment } from '../src/bio/bio-add.ts';
import { BlockDevice } from '../src/device/block-device.ts';
import { openRamEngine } from '../src/engine/memory/ram-engine.ts';
import { validateLimits } from '../src/limits/validate.ts';
import { Arena } from '../src/memory/arena.ts';
import { HoldKind } from '../src/memory/holds.ts';

const N = Number(process.argv[2] ?? 2_000_000);
const arena = new Arena({ maxBytes: 64 << 20 });
const engine = openRamEngine({ sizeBytes: 8 << 20, depth: 128, defer: (f: () => void) => setImmediate(f) } as never);
const device = new BlockDevice({ engine, arena, defer: (f) => setImmediate(f) });
const buf = arena.alloc(128 * 4096);
let done = 0;
const end = (bio: Bio): void => { done++; device.bios.release(bio); };
let seed = 1;
for (let round = 0; round < 5; round++) {
  done = 0; let sent = 0;
  const t0 = performance.now();
  while (done < N) {
    device.queue.startPlug();
    for (let i = 0; i < 32 && sent < N; i++, sent++) {
      seed = (Math.imul(seed, 1103515245) + 12345) >>> 0;
      const bio = device.bios.acquire(BioOp.READ, ((seed >>> 8) & 2047) * 8, 1) as Bio;
      addSegment(bio, buf.page + (sent & 127), 0, 4096, HoldKind.BORROWED);
      bio.endIo = end;
      device.submitBio(bio);
    }
    device.queue.finishPlug();
    device.poll();
  }
  const s = (performance.now() - t0) / 1e3;
  console.log((N / s / 1e3).toFixed(0) + 'k/s', ((s / N) * 1e9).toFixed(0) + ' ns');
}
