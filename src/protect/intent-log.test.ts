import assert from 'node:assert/strict';
import { test } from 'node:test';
import { SeededRandom } from '../testing/simulator/seeded-random.ts';
import { VolatileDisk } from '../testing/simulator/volatile-disk.ts';
import { IntentLog, type LogWaiter, logBufferBytes } from './intent-log.ts';
import { getU32, getU64 } from './le-bytes.ts';
import { RecordKind } from './log-record.ts';
import { layoutFor } from './open-store.ts';
import { lowerDevice, RIG_FORMAT, rigArena } from './protect-rig.fuzz.ts';
import { Seal } from './seal.ts';

/** First word of a record, as the format has it: 'BIPL'. */
const RECORD = 0x4c504942;
/** As many as the log has room for, and a few less. */
const MOST = 60;

test('nobody hears of a record that is not written, whatever is appended meanwhile', async () => {
  const layout = layoutFor(64 * 4096, RIG_FORMAT);
  const bytes = new Uint8Array(layout.storeBytes);
  const defer = (run: () => void): void => queueMicrotask(run);
  const random = new SeededRandom(1);
  const store = lowerDevice(new VolatileDisk({ bytes, random, history: null, defer }));
  using memory = rigArena.alloc(2 * logBufferBytes(layout), 'log');
  const seal = new Seal({ low: 1, high: 2 });
  const log = new IntentLog({ layout, seal, store, memory, tail: 0 });
  const early: number[] = [];
  let ended = 0;
  let appended = 0;
  const { promise, resolve } = Promise.withResolvers<void>();
  const append = (): void => {
    appended++;
    const waiter: LogWaiter = {
      lsn: -1,
      logKind: RecordKind.ZEROES,
      logFirst: 0,
      logCount: 1,
      logPage: 0,
      logPayload: 0,
      logDurable: false,
      logWritten: (status) => {
        const at = layout.logAt(waiter.lsn);
        const isThere = getU32(bytes, at) === RECORD && getU64(bytes, at + 8) === waiter.lsn;
        if (status !== 0 || !isThere) early.push(waiter.lsn);
        ended++;
        // As a write that ends lets others go: they come into the log, and it is sent on.
        for (let i = 0; i < 2 && appended < MOST; i++) {
          append();
          log.kick();
        }
        if (ended === MOST) resolve();
      },
    };
    assert(log.reserve(log.costOf(0)));
    log.append(waiter);
  };
  for (let i = 0; i < 3; i++) append();
  log.kick();
  await promise;
  await Promise.resolve();
  assert.deepEqual(early, []);
  assert(log.isIdle && log.reserved === 0);
  assert.equal(log.head, MOST * 512);
  await store.close();
});
