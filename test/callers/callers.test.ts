// Every caller of the 2017 list, on `forEachPage` and on arrays of pages, over the same random
// memory: same result, same entries, same holds, same place of the iterator.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { errnoName } from '../../src/base/errno.ts';
import { pagesSpanned } from '../../src/base/units.ts';
import { type IovIter, IterDirection, IterState } from '../../src/iter/iov-iter.ts';
import { IterWorld, iterCases, RUNS } from '../../src/iter/iter-cases.fuzz.ts';
import { HoldKind, releaseHold } from '../../src/memory/holds.ts';
import { AlgList, algList } from './af-alg.ts';
import { algListArrays } from './af-alg-arrays.ts';
import { bioBuild } from './bio-build.ts';
import { bioBuildArrays } from './bio-build-arrays.ts';
import { BioRows } from './bio-rows.ts';
import { Dio } from './dio.ts';
import { directIo } from './direct-io.ts';
import { directIoArrays } from './direct-io-arrays.ts';
import { fusePages } from './fuse-pages.ts';
import { fusePagesArrays } from './fuse-pages-arrays.ts';
import { FuseRequest } from './fuse-request.ts';
import { NfsAnswer, NfsDirect } from './nfs-direct.ts';
import { nfsDirectRead } from './nfs-direct-read.ts';
import { nfsDirectReadArrays } from './nfs-direct-read-arrays.ts';
import { nfsDirectWrite } from './nfs-direct-write.ts';
import { nfsDirectWriteArrays } from './nfs-direct-write-arrays.ts';
import { Pipe } from './pipe.ts';
import { pipeFill } from './pipe-fill.ts';
import { pipeFillArrays } from './pipe-fill-arrays.ts';
import type { Sink } from './sink.ts';
import { EMSGSIZE, SocketBuffer } from './socket-buffer.ts';
import { socketFragments } from './socket-fragments.ts';
import { socketFragmentsArrays } from './socket-fragments-arrays.ts';

const { SOURCE, DEST } = IterDirection;

interface Caller<S extends Sink> {
  readonly name: string;
  readonly direction?: IterDirection;
  /** A fresh sink from two small numbers. */
  readonly sink: (a: number, b: number) => S;
  readonly loop: (iter: IovIter, sink: S) => number;
  readonly arrays: (iter: IovIter, sink: S) => number;
  /** Outcomes that the random cases must have produced, or they prove too little. */
  readonly sees: readonly string[];
}

function errnoText(result: number): string {
  return result === -EMSGSIZE ? 'EMSGSIZE' : errnoName(result);
}

/** Everything that can be seen of a sink, as plain values. */
function shown(sink: Sink): unknown {
  const entries = 'entries' in sink ? sink.entries : null;
  return JSON.parse(JSON.stringify({ ...sink, held: sink.held, entries }));
}

/** Runs one style and gives all that it did; then lets its holds go. */
function outcome<S extends Sink>(
  world: IterWorld,
  sink: S,
  call: (iter: IovIter, sink: S) => number,
): object {
  const result = call(world.iter, sink);
  const { place } = world;
  const { count } = world.iter;
  const holds = world.holds();
  const owned = sink.held.flatMap(([page, offset, len]) =>
    Array.from({ length: pagesSpanned(offset, len) }, (_, i) => page + i),
  );
  const kind = sink.hold;
  const counts = world.holdsOf(kind === HoldKind.BORROWED ? [] : owned);
  const none = world.holdsOf([]);
  assert.deepEqual(holds.pins, kind === HoldKind.PINNED ? counts : none, 'pins of the sink');
  assert.deepEqual(holds.refs, kind === HoldKind.REFERENCED ? counts : none, 'its references');
  for (const page of owned) releaseHold(kind, page, 1);
  return { result, place, count, sink: shown(sink) };
}

function compare<S extends Sink>(caller: Caller<S>): void {
  const { direction } = caller;
  const cases = iterCases(direction === undefined ? {} : { direction });
  test(`${caller.name}: the loop and the arrays do the same`, () => {
    const seen = new Map<string, number>();
    fc.assert(
      fc.property(cases, fc.nat(12), fc.nat(20), (given, a, b) => {
        using world = new IterWorld(given);
        const state = new IterState();
        world.iter.save(state);
        const left = world.left;
        const old = outcome(world, caller.sink(a, b), caller.arrays);
        world.iter.restore(state);
        const sink = caller.sink(a, b);
        assert.deepEqual(outcome(world, sink, caller.loop), old);
        const { result } = old as { result: number };
        const what = result < 0 ? errnoText(result) : world.left > 0 ? 'part' : 'all';
        if (left > 0) seen.set(what, (seen.get(what) ?? 0) + 1);
      }),
      RUNS,
    );
    if (RUNS.numRuns < 1000) return;
    for (const what of caller.sees) assert.ok((seen.get(what) ?? 0) > 5, `too little of '${what}'`);
  });
}

compare({
  name: 'direct I/O',
  sink: (a, b) => new Dio(a % 2 === 0 ? b * 1000 : Number.POSITIVE_INFINITY),
  loop: directIo,
  arrays: directIoArrays,
  sees: ['all', 'part', 'EFAULT', 'EIO'],
});
compare({
  name: 'NFS direct read',
  direction: DEST,
  sink: (a, b) => new NfsDirect(1 + (a % 4), b, 0),
  loop: nfsDirectRead,
  arrays: nfsDirectReadArrays,
  sees: ['all', 'part', 'EFAULT', 'ENOMEM'],
});
compare({
  name: 'NFS direct write',
  direction: SOURCE,
  sink: (a, b) => new NfsDirect(1 + (a % 4), b % 8, a % 2 === 0 ? NfsAnswer.SOFT : NfsAnswer.FATAL),
  loop: nfsDirectWrite,
  arrays: nfsDirectWriteArrays,
  sees: ['all', 'part', 'EFAULT', 'EIO'],
});
compare({
  name: 'socket fragments',
  direction: SOURCE,
  sink: (a, b) => new SocketBuffer(a % 2 === 0 ? 0 : b * 50, b % 17),
  loop: socketFragments,
  arrays: socketFragmentsArrays,
  sees: ['all', 'EFAULT', 'EMSGSIZE'],
});
compare({
  name: 'af_alg',
  sink: () => new AlgList(),
  loop: algList,
  arrays: algListArrays,
  sees: ['all', 'part', 'EFAULT'],
});
compare({
  name: 'fuse page arrays',
  sink: (a, b) => new FuseRequest(b * 1500, 1 + a),
  loop: fusePages,
  arrays: fusePagesArrays,
  sees: ['all', 'part', 'EFAULT'],
});
compare({
  name: 'pipe fill',
  direction: SOURCE,
  sink: (a, b) => new Pipe(a, b),
  loop: pipeFill,
  arrays: pipeFillArrays,
  sees: ['all', 'part', 'EFAULT', 'EAGAIN', 'EPIPE'],
});
compare({
  name: 'bio builder',
  sink: (a) => new BioRows(1 + a),
  loop: bioBuild,
  arrays: bioBuildArrays,
  sees: ['all', 'part', 'EFAULT'],
});
