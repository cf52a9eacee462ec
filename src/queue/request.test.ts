import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { RUNS } from '../base/runs.fuzz.ts';
import { TAG_NONE } from '../base/slots.ts';
import { type Bio, BioState } from '../bio/bio.ts';
import { buildBio, segmentsArb, wordsOf } from '../bio/bio-bytes.fuzz.ts';
import { BioOp } from '../bio/bio-op.ts';
import { BioPool } from '../bio/bio-pool.ts';
import { advanceRequest, Request, SegmentCursor } from './request.ts';
import { RequestTable } from './request-table.ts';

const pool = new BioPool({ bios: 16, rows: 1000 });

function requestOf(bios: readonly Bio[]): Request {
  const request = new Request();
  request.start(0, bios[0] as Bio, 1);
  for (const bio of bios.slice(1)) {
    (request.bioTail as Bio).next = bio;
    request.bioTail = bio;
    request.bytes += bio.size;
  }
  return request;
}

function addressesOf(request: Request): number[] {
  const cursor = new SegmentCursor();
  cursor.start(request);
  const out: number[] = [];
  while (cursor.next()) {
    for (let at = 0; at < cursor.len; at += 4) {
      out.push(cursor.page * 4096 + cursor.offset + at);
    }
  }
  assert.ok(!cursor.next(), 'the end stays the end');
  return out;
}

const biosArb = fc.array(segmentsArb(512, 512), { minLength: 1, maxLength: 5 });

test('the segments of a request are the bytes of its bios, after any short transfers', () => {
  fc.assert(
    fc.property(biosArb, fc.array(fc.nat(999), { maxLength: 6 }), (shapes, shares) => {
      let sector = 0;
      let ended = 0;
      const bios = shapes.map((segments) => {
        const bio = buildBio(pool, BioOp.WRITE, sector, segments);
        sector += bio.sectors;
        bio.state = BioState.SUBMITTED;
        bio.endIo = () => {
          ended++;
        };
        return bio;
      });
      const ends = bios.map((bio) => (bio.sector + bio.sectors) * 512);
      const all = bios.flatMap((bio) => wordsOf(bio).addr);
      const request = requestOf(bios);
      let done = 0;
      for (const share of shares) {
        const step = Math.floor((request.bytes * share) / 1000 / 512) * 512;
        if (step === 0) continue;
        advanceRequest(request, step);
        done += step;
        assert.equal(request.sector * 512, done);
        assert.equal(request.bytes, all.length * 4 - done);
        assert.equal(ended, ends.filter((end) => end <= done).length);
        const left = addressesOf(request);
        assert.equal(left.length, all.length - done / 4);
        assert.ok(left.every((addr, i) => addr === all[done / 4 + i]));
      }
      assert.throws(() => advanceRequest(request, request.bytes), /to its end/);
      assert.throws(() => advanceRequest(request, 0), /without progress/);
      for (const bio of bios) {
        if (bio.state === BioState.SUBMITTED) bio.state = BioState.ENDED;
        pool.release(bio);
      }
      assert.equal(pool.busyCount, 0);
    }),
    RUNS,
  );
});

test('an op without data has no segments', () => {
  const bio = pool.acquire(BioOp.DISCARD, 0, 0) as Bio;
  bio.size = 4096;
  assert.deepEqual(addressesOf(requestOf([bio])), []);
  pool.release(bio);
});

test('tags: bounded, fresh results, stale ones fail', () => {
  const table = new RequestTable(2);
  const [a, b] = [table.acquire(), table.acquire()];
  assert.equal(table.acquire(), TAG_NONE);
  const bio = buildBio(pool, BioOp.READ, 0, [{ page: 1, offset: 0, len: 512 }]);
  table.at(a).start(a, bio, 1);
  assert.equal(table.get(a).bio, bio);
  table.status[0] = -5;
  table.bytesDone[0] = 77;
  table.at(a).inFlight = true;
  assert.throws(() => table.release(a), /in flight/);
  table.at(a).inFlight = false;
  table.release(a);
  assert.throws(() => table.get(a), /stale/);
  assert.throws(() => table.release(a), /stale/);
  const again = table.acquire();
  assert.notEqual(again, a);
  assert.deepEqual([table.status[0], table.bytesDone[0]], [0, 0]);
  assert.equal(table.get(again).bio, null);
  table.release(again);
  table.release(b);
  assert.equal(table.busyCount, 0);
  pool.release(bio);
  assert.equal(pool.busyCount, 0);
});
