import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { RUNS } from '../base/runs.fuzz.ts';
import { HoldKind } from '../memory/holds.ts';
import { BIO_NEXT, type Bio, BioState, chainBio, endBio } from './bio.ts';
import { addSegment } from './bio-add.ts';
import { BioOp } from './bio-op.ts';
import { BIO_RESERVE, BioPool } from './bio-pool.ts';

function assertIdle(pool: BioPool): void {
  assert.equal(pool.busyCount, 0);
  assert.equal(pool.runs.rowsUsed, 0);
}

function submit(bio: Bio): void {
  bio.state = BioState.SUBMITTED;
}

test('32: allocate, submit, allocate never deadlocks, however small the pool', () => {
  fc.assert(
    fc.property(
      fc.nat(3),
      fc.integer({ min: 1, max: 20 }),
      fc.array(fc.nat(256), { maxLength: 40 }),
      (bios, rows, wishes) => {
        const pool = new BioPool({ bios, rows });
        const inFlight: Bio[] = [];
        const complete = (): void => {
          const bio = inFlight.shift();
          assert.ok(bio !== undefined, 'nothing is in flight and the pool is empty: a deadlock');
          endBio(bio);
        };
        for (const vecs of wishes) {
          let bio = pool.acquire(BioOp.READ, 0, vecs);
          while (bio === null) {
            complete();
            bio = pool.acquire(BioOp.READ, 0, vecs);
          }
          assert.ok(bio.maxVecs >= vecs);
          for (let i = 0; i < vecs; i++) addSegment(bio, 2 * i, 0, 512, HoldKind.BORROWED);
          assert.equal(bio.vcnt, vecs);
          bio.endIo = (ended) => pool.release(ended);
          submit(bio);
          inFlight.push(bio);
          assert.ok(inFlight.length <= bios + BIO_RESERVE);
        }
        while (inFlight.length > 0) complete();
        assertIdle(pool);
      },
    ),
    RUNS,
  );
});

test('rows of two bios never overlap', () => {
  fc.assert(
    fc.property(fc.array(fc.integer({ min: 1, max: 256 }), { maxLength: 12 }), (wishes) => {
      const pool = new BioPool({ bios: 10, rows: 600 });
      const bios: Bio[] = [];
      for (const vecs of wishes) {
        const bio: Bio | null = pool.acquire(BioOp.WRITE, 0, vecs);
        if (bio === null) continue;
        for (const other of bios as readonly Bio[]) {
          const isBefore: boolean = bio.first + bio.maxVecs <= other.first;
          assert.ok(isBefore || other.first + other.maxVecs <= bio.first);
        }
        bios.push(bio);
      }
      for (const bio of bios) pool.release(bio);
      assertIdle(pool);
    }),
    RUNS,
  );
});

test('a bio from the pool is as new, whatever its last user left', () => {
  const pool = new BioPool({ bios: 0, rows: 4 });
  const [used, other] = [pool.acquire(BioOp.WRITE, 77, 1), pool.acquire(BioOp.WRITE, 0, 0)];
  assert.ok(used !== null && other !== null);
  assert.equal(pool.acquire(BioOp.READ, 0, 0), null, 'an empty pool is no error');
  addSegment(used, 1, 0, 512, HoldKind.BORROWED);
  used.endIo = () => {};
  used.owner = {};
  used.status = -5;
  used.shortAt = 3;
  used.traceId = 9;
  used.flags = 2;
  submit(used);
  endBio(used);
  pool.release(used);
  const bio = pool.acquire(BioOp.READ, 8, 1) as Bio;
  assert.equal(bio, used);
  const { op, flags, sector, size, vcnt, status, shortAt, remaining, traceId } = bio;
  assert.deepEqual(
    { op, flags, sector, size, vcnt, status, shortAt, remaining, traceId },
    {
      op: BioOp.READ,
      flags: 0,
      sector: 8,
      size: 0,
      vcnt: 0,
      status: 0,
      shortAt: Number.POSITIVE_INFINITY,
      remaining: 1,
      traceId: 0,
    },
  );
  assert.deepEqual([bio.endIo, bio.owner, bio.parent, bio.next], [null, null, null, null]);
  pool.release(bio);
  pool.release(other);
  assertIdle(pool);
});

test('stale use of a bio fails loudly', () => {
  const pool = new BioPool({ bios: 2, rows: 16 });
  const bio = pool.acquire(BioOp.WRITE, 0, 1) as Bio;
  addSegment(bio, 1, 0, 4096, HoldKind.BORROWED);
  assert.throws(() => endBio(bio), /wrong state/, 'not submitted');
  bio.endIo = () => {};
  submit(bio);
  assert.throws(() => addSegment(bio, 2, 0, 512, HoldKind.BORROWED), /after submit/);
  assert.throws(() => pool.release(bio), /in flight/);
  assert.throws(() => pool.rearm(bio, BioOp.WRITE, 0, 512), /in flight/);
  endBio(bio);
  assert.throws(() => endBio(bio), /wrong state/, 'ended twice');
  pool.release(bio);
  assert.throws(() => pool.release(bio), /in flight/, 'released twice');
  assert.throws(() => endBio(bio), /wrong state/, 'ended after release');
  const foreign = new BioPool({ bios: 1, rows: 4 }).acquire(BioOp.READ, 0, 1) as Bio;
  assert.throws(() => pool.release(foreign), /foreign/);
  assertIdle(pool);
});

test('the table of states knows every step that the pool makes', () => {
  const pool = new BioPool({ bios: 1, rows: 4 });
  const seen: [BioState, BioState][] = [];
  const bio = pool.acquire(BioOp.READ, 0, 1) as Bio;
  seen.push([BioState.FREE, bio.state]);
  addSegment(bio, 1, 0, 4096, HoldKind.BORROWED);
  bio.endIo = () => {};
  submit(bio);
  seen.push([BioState.BUILT, bio.state]);
  endBio(bio);
  seen.push([BioState.SUBMITTED, bio.state]);
  pool.rearm(bio, BioOp.WRITE, 0, 4096);
  seen.push([BioState.ENDED, bio.state]);
  pool.release(bio);
  seen.push([BioState.BUILT, bio.state]);
  for (const [from, to] of seen) assert.ok(BIO_NEXT[from].includes(to), `${from} → ${to}`);
  assertIdle(pool);
});

interface Part {
  readonly bio: Bio;
  readonly status: number;
}

test('25: a split bio ends once, after its last part in any order, with the first error', () => {
  const pool = new BioPool({ bios: 64, rows: 256 });
  const plan = fc.record({
    cuts: fc.array(fc.integer({ min: 1, max: 15 }), { maxLength: 12 }),
    order: fc.array(fc.nat(1000), { minLength: 13, maxLength: 13 }),
    statuses: fc.array(fc.constantFrom(0, 0, 0, -5, -28), { minLength: 13, maxLength: 13 }),
    shorts: fc.array(fc.option(fc.nat(100)), { minLength: 13, maxLength: 13 }),
  });
  fc.assert(
    fc.property(plan, ({ cuts, order, statuses, shorts }) => {
      const bio = pool.acquire(BioOp.READ, 0, 4) as Bio;
      addSegment(bio, 1, 0, 65536, HoldKind.BORROWED);
      let ends = 0;
      bio.endIo = () => {
        ends++;
      };
      bio.traceId = 5;
      submit(bio);
      const parts: Part[] = [];
      for (const cut of cuts) {
        if (cut * 512 >= bio.size) break;
        const front = pool.splitFront(bio, cut * 512) as Bio;
        assert.equal(front.traceId, 5, 'the trace id survives');
        parts.push({ bio: front, status: statuses[parts.length] as number });
      }
      parts.push({ bio, status: statuses[12] as number });
      let first = 0;
      let shortAt = Number.POSITIVE_INFINITY;
      for (let i = 0; parts.length > 0; i++) {
        assert.equal(ends, 0);
        const [part] = parts.splice((order[i] as number) % parts.length, 1) as [Part];
        // What the queue does at a completion, for the bio's own part too.
        if (part.bio.status === 0) part.bio.status = part.status;
        const short = shorts[i] ?? Number.POSITIVE_INFINITY;
        if (short < part.bio.shortAt) part.bio.shortAt = short;
        shortAt = Math.min(shortAt, short);
        if (first === 0) first = part.status;
        endBio(part.bio);
      }
      assert.equal(ends, 1);
      assert.equal(bio.status, first);
      assert.equal(bio.shortAt, shortAt);
      pool.release(bio);
      assertIdle(pool);
    }),
    RUNS,
  );
});

test('a chain of 100,000 bios ends without recursion, in any direction', () => {
  const LENGTH = 100_000;
  const pool = new BioPool({ bios: LENGTH, rows: 4 });
  for (const isTopFirst of [true, false]) {
    const chain: Bio[] = [];
    for (let i = 0; i < LENGTH; i++) {
      const bio = pool.acquire(BioOp.FLUSH, 0, 0) as Bio;
      submit(bio);
      if (i > 0) chainBio(bio, chain[i - 1] as Bio);
      chain.push(bio);
    }
    const top = chain[0] as Bio;
    let ends = 0;
    top.endIo = () => {
      ends++;
    };
    (chain[LENGTH - 1] as Bio).status = -5;
    if (!isTopFirst) chain.reverse();
    for (const [i, bio] of chain.entries()) {
      assert.equal(ends, 0, `ended after ${i} of ${LENGTH} parts`);
      endBio(bio);
    }
    assert.equal(ends, 1);
    assert.equal(top.status, -5, 'the error of the last link came up');
    pool.release(top);
    assertIdle(pool);
  }
});

test('100,000 parts of one bio end it once', () => {
  const PARTS = 100_000;
  const pool = new BioPool({ bios: PARTS, rows: 4 });
  const bio = pool.acquire(BioOp.DISCARD, 0, 0) as Bio;
  bio.size = (PARTS + 1) * 512;
  let ends = 0;
  bio.endIo = () => {
    ends++;
  };
  submit(bio);
  const fronts = Array.from({ length: PARTS }, () => pool.splitFront(bio, 512) as Bio);
  assert.equal(bio.sector, PARTS);
  for (const front of fronts) endBio(front);
  assert.equal(ends, 0);
  endBio(bio);
  assert.equal(ends, 1);
  pool.release(bio);
  assertIdle(pool);
});

test('a chained child has no end of its own and one parent', () => {
  const pool = new BioPool({ bios: 4, rows: 4 });
  const [parent, child] = [0, 0].map(() => pool.acquire(BioOp.FLUSH, 0, 0) as Bio) as [Bio, Bio];
  child.endIo = () => {};
  assert.throws(() => chainBio(child, parent), /no endIo/);
  child.endIo = null;
  chainBio(child, parent);
  assert.throws(() => chainBio(child, parent), /chained twice/);
  parent.endIo = (bio) => pool.release(bio);
  submit(parent);
  submit(child);
  endBio(child);
  endBio(parent);
  assertIdle(pool);
});

test('a split is inside the bio, and an empty pool is back-pressure', () => {
  const pool = new BioPool({ bios: 0, rows: 4 });
  const bio = pool.acquire(BioOp.WRITE, 0, 1) as Bio;
  addSegment(bio, 1, 0, 4096, HoldKind.BORROWED);
  for (const bytes of [0, 4096, 8192]) {
    assert.throws(() => pool.splitFront(bio, bytes), /outside/);
  }
  const front = pool.splitFront(bio, 512) as Bio;
  assert.equal(pool.splitFront(bio, 512), null);
  assert.equal(pool.cloneBio(bio), null);
  assert.deepEqual([bio.sector, bio.size, bio.remaining], [1, 3584, 2], 'nothing was changed');
  bio.endIo = (ended) => pool.release(ended);
  submit(bio);
  endBio(bio);
  endBio(front);
  assertIdle(pool);
});
