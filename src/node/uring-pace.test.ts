import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { HostEnv } from '../base/env.ts';
import { BioOp } from '../bio/bio-op.ts';
import { Lane } from '../engine/uring/lane.ts';
import { openUringEngine } from '../engine/uring/open-uring-engine.ts';
import { FileBench, TemporaryFile } from './file-fixture.test.ts';
import { ModelRing, type ModelRingOptions } from './model-ring.fuzz.ts';
import { envOf } from './uring-fixture.test.ts';

// How long a lane holds up the event loop, on a clock, a loop and a kernel of our own: every cost
// is stated here, so the longest time between two passes of the loop is exact.

const NOP = 0;
const MS = 1e6;
/** An application is never held up for longer. */
const HELD_NS_MAX = 2 * MS;

interface Costs {
  /** Of one entry, inside `enter`. */
  readonly entryNs: number;
  /** Until a device has done the oldest entry in flight; 0: everything ends inside `enter`. */
  readonly deviceNs: number;
  /** Of telling one completion to its submitter. */
  readonly tellNs: number;
}

/** A kernel, a clock and an event loop: time passes by the costs alone. */
class PacedRing extends ModelRing {
  ns = 1;
  /** Entries that each call handed over. */
  readonly calls: number[] = [];
  readonly costs: Costs;
  #soon: (() => void)[] = [];
  #deferred: (() => void)[] = [];
  longestNs = 0;

  constructor(costs: Costs, options: ModelRingOptions = {}) {
    super({ ...options, isSlow: costs.deviceNs > 0 });
    this.costs = costs;
  }

  get env(): HostEnv {
    return { ...envOf(this), nowNs: () => this.ns, defer: (fn) => void this.#deferred.push(fn) };
  }

  override soon(fn: () => void): void {
    this.#soon.push(fn);
  }

  override enter(fd: number, submit: number, minComplete: number, flags: number): number {
    const { entryNs, deviceNs } = this.costs;
    this.ns += 300 + submit * entryNs;
    this.calls.push(submit);
    const result = super.enter(fd, submit, minComplete, flags);
    if (deviceNs > 0 && minComplete > 0) {
      this.ns += deviceNs;
      this.finish();
    }
    return result;
  }

  /** One pass of the loop: its immediates, and after each what shall run soon. */
  pass(): void {
    const start = this.ns;
    const batch = this.#deferred.splice(0);
    for (const fn of [...batch, () => {}]) {
      fn();
      for (let next = this.#soon.shift(); next !== undefined; next = this.#soon.shift()) next();
    }
    this.ns += 1000;
    this.longestNs = Math.max(this.longestNs, this.ns - start);
  }
}

interface Load {
  readonly owners: number;
  readonly depth: number;
  /** Bytes that one entry copies inside `enter`. */
  readonly inlineBytes: number;
}

/** Keeps `depth` entries of each owner in flight until `total` have ended; the longest hold-up. */
function longestHoldUp(
  costs: Costs,
  load: Load,
  total: number,
  options: ModelRingOptions = {},
): number {
  const ring = new PacedRing(costs, options);
  const lane = new Lane(ring.env, ring);
  let put = 0;
  let told = 0;
  const owners: number[] = [];
  for (let i = 0; i < load.owners; i++) {
    let ready = 0;
    const send = (count: number): void => {
      for (let k = 0; k < count && put < total; k++, put++) {
        if (!lane.makeRoom()) break;
        lane.put(NOP, -1, 0, 0, 0, 0, 1, owner, 0, load.inlineBytes);
        lane.commit(load.inlineBytes === 0);
      }
      lane.endSubmit();
    };
    const tell = (): void => {
      const count = ready;
      ready = 0;
      told += count;
      ring.ns += count * costs.tellNs;
      send(count);
    };
    const owner = lane.addOwner({ completed: () => void (ready++ === 0 && lane.defer(tell)) });
    owners.push(owner);
    send(load.depth);
  }
  for (let i = 0; i < 100_000 && told < total; i++) ring.pass();
  assert.equal(told, total, 'everything was told');
  ring.pass();
  for (const owner of owners) lane.removeOwner(owner);
  lane.close();
  ring.assertNothingLeft();
  return ring.longestNs;
}

const NO_COPY = { owners: 1, inlineBytes: 0 };

test('waits for a device, one at a time, let the loop run in between', () => {
  for (const deviceNs of [20_000, 90_000, 150_000, 199_000]) {
    const costs = { entryNs: 500, deviceNs, tellNs: 1500 };
    const longest = longestHoldUp(costs, { ...NO_COPY, depth: 1 }, 1000);
    assert(longest <= HELD_NS_MAX, `${deviceNs} ns a wait: ${longest / MS} ms`);
    assert(
      longest > 0.4 * MS,
      'turns follow each other for half a millisecond: this tests nothing',
    );
  }
});

test('without a poll a turn waits longer, and at most two before the loop runs', () => {
  const costs = { entryNs: 500, deviceNs: 0.75 * MS, tellNs: 1500 };
  const longest = longestHoldUp(costs, { ...NO_COPY, depth: 1 }, 100, { polls: false });
  assert(longest <= HELD_NS_MAX, `${longest / MS} ms`);
});

test('many completions a turn let the loop run after few turns', () => {
  for (const depth of [32, 128, 250]) {
    const costs = { entryNs: 500, deviceNs: 10_000, tellNs: 3000 };
    const longest = longestHoldUp(costs, { ...NO_COPY, depth }, 20_000);
    assert(longest <= HELD_NS_MAX, `depth ${depth}: ${longest / MS} ms`);
  }
});

test('many disks that have something to tell in one turn tell it in several passes', () => {
  const costs = { entryNs: 100, deviceNs: 10_000, tellNs: 3000 };
  const longest = longestHoldUp(costs, { ...NO_COPY, owners: 40, depth: 100 }, 40_000);
  assert(longest <= HELD_NS_MAX, `${longest / MS} ms`);
});

test('copies inside enter are bounded by bytes, whatever the depth', () => {
  for (const kib of [4, 64, 255]) {
    // 10 GB/s, and 500 ns for the call.
    const costs = { entryNs: 500 + (kib * 1024) / 10, deviceNs: 0, tellNs: 1500 };
    const load = { owners: 4, depth: 60, inlineBytes: kib * 1024 };
    const longest = longestHoldUp(costs, load, 10_000);
    assert(longest <= HELD_NS_MAX, `${kib} KiB: ${longest / MS} ms`);
  }
});

test('writes into the page cache, which take longer, go in smaller calls than reads', async () => {
  for (const [op, most] of [
    [BioOp.READ, 128],
    [BioOp.WRITE, 64],
  ] as const) {
    const ring = new PacedRing({ entryNs: 0, deviceNs: 0, tellNs: 0 });
    const door = Object.assign(ring, { soon: (fn: () => void) => void Promise.resolve().then(fn) });
    {
      using file = new TemporaryFile(new Uint8Array(2 ** 20));
      await using bench = new FileBench(
        await openUringEngine(file.path, { env: envOf(door), direct: false, depth: 128 }),
      );
      const tags = Array.from({ length: 128 }, (_, i) => bench.build(op, i * 4096, 4096));
      for (const { bytesDone } of await bench.driver.run(tags)) assert.equal(bytesDone, 4096);
      for (const tag of tags) bench.driver.release(tag);
    }
    assert.equal(Math.max(...ring.calls), most, op === BioOp.READ ? 'reads' : 'writes');
    ring.assertNothingLeft();
  }
});
