import type { SeedKind } from './seed-kind.ts';

/** A bug on purpose: `find`, which must stand once in src/`file`, becomes `replace`. */
export interface Canary {
  readonly name: string;
  readonly file: string;
  readonly find: string;
  readonly replace: string;
  /** So many seeds must be enough. */
  readonly seedsMax: number;
  /** Only worlds of this kind use what is broken. */
  readonly world?: SeedKind;
}

export const CANARIES: readonly Canary[] = [
  {
    // The copy then walks the address space again, where other memory may lie by now.
    name: 'unpin-before-copy-back',
    file: 'map/mapping.ts',
    find: `    if (piece.isCopied && this.op === BioOp.READ && userBytes > 0) {
      this.#copyBack`,
    replace: `    if (piece.isCopied && piece.isPinned && this.op === BioOp.READ) {
      this.#unpin(piece, userBytes);
      piece.isPinned = false;
    }
    if (piece.isCopied && this.op === BioOp.READ && userBytes > 0) {
      this.#copyBack`,
    seedsMax: 400,
    world: 'path',
  },
  {
    name: 'get-instead-of-pin',
    file: 'iter/iter-extract.ts',
    find: `  hold: HoldKind.PINNED,
});`,
    replace: `  hold: HoldKind.REFERENCED,
});`,
    seedsMax: 100,
    world: 'path',
  },
  {
    // What remains is the dirty bit that the write fault left when the page was pinned.
    name: 'dirty-before-dma-only',
    file: 'map/mapping.ts',
    find: 'releasePages(bio, this.op === BioOp.READ && userBytes > 0)',
    replace: 'releasePages(bio, false)',
    seedsMax: 50,
    world: 'path',
  },
  {
    // H2 of the reference.
    name: 'trim-without-release',
    file: 'bio/bio-add.ts',
    find: 'if (had > has) releaseHold(table.hold[row] as HoldKind, page, had - has);',
    replace: 'if (had > has) void page;',
    seedsMax: 50,
    world: 'path',
  },
  {
    // H10: own pages so small that one block has more segments than the device takes.
    name: 'copy-over-max-segments',
    file: 'map/bounce.ts',
    find: 'const take = Math.min(want - got, 2 ** order * PAGE_BYTES);',
    replace: 'const take = Math.min(want - got, 512);',
    seedsMax: 100,
  },
  {
    // H11.
    name: 'copy-back-after-failure',
    file: 'map/mapping.ts',
    find: 'const userBytes = bio.status === 0 ? Math.min(got, piece.userBytes) : 0;',
    replace:
      'const userBytes = bio.status === 0 ? Math.min(got, piece.userBytes) : piece.userBytes;',
    seedsMax: 100,
    world: 'path',
  },
  {
    // A count that passes what it can say: here after 3, in Linux after 2^31 - 1.
    name: 'bias-overflow',
    file: 'memory/user/hold-entries.ts',
    find: `  if (run > 0) counts[head] += run;
  const held`,
    replace: `  if (run > 0) counts[head] = (counts[head] + run) & 3;
  const held`,
    seedsMax: 100,
    world: 'path',
  },
  {
    name: 'completion-twice',
    file: 'device/complete.ts',
    find: '    onEnd(transfer, result);',
    replace: '    onEnd(transfer, result);\n    onEnd(transfer, result);',
    seedsMax: 20,
  },
  {
    name: 'reclaim-ignores-pins',
    file: 'memory/user/reclaim.ts',
    find: 'if (region.pins[head] > 0) {',
    replace: 'if (region.pins[head] < 0) {',
    seedsMax: 200,
    world: 'path',
  },
  {
    name: 'mkwrite-without-stable-pages',
    file: 'cache/cache-area.ts',
    find: '(file.hasStablePages && hasFlag(page, FrameFlag.WRITEBACK));',
    replace: 'false;',
    seedsMax: 300,
    world: 'path',
  },
  {
    name: 'merge-joins-different-holds',
    file: 'iter/row-join.ts',
    find: 'if (table.hold[row] !== hold) return false;',
    replace: '',
    seedsMax: 100,
    world: 'device',
  },
  {
    name: 'short-read-taken-as-whole',
    file: 'device/complete.ts',
    find: '    completeShort(device, request, bytesDone);',
    replace: '    queue.finishRequest(request, 0, request.bytes);',
    seedsMax: 50,
  },
  {
    name: 'migration-ignores-pins',
    file: 'memory/user/migrate.ts',
    find: 'if (region.pins[head] > 0) return false;',
    replace: '',
    seedsMax: 100,
    world: 'path',
  },
  {
    name: 'fork-ignores-pins',
    file: 'memory/user/fork.ts',
    find: 'const mustCopy = parent.hasPinned && region.pins[head] > 0;',
    replace: 'const mustCopy = false;',
    seedsMax: 300,
    world: 'path',
  },
  {
    // H1: a part of the metadata was pinned, and the rest taken for pinned too.
    name: 'metadata-pinned-in-part',
    file: 'map/passthrough/user-meta.ts',
    find: `  if (done < bytes) {
    // A part`,
    replace: `  if (done === 0) {
    // A part`,
    seedsMax: 100,
    world: 'path',
  },
  {
    // H9: a copied read says as many rows as the program's memory has.
    name: 'metadata-rows-of-the-program',
    file: 'map/passthrough/user-meta.ts',
    find: 'return { table: meta.table, rows: meta.vcnt };',
    replace: 'return { table: meta.table, rows: meta.isRead ? meta.entries : meta.vcnt };',
    seedsMax: 100,
    world: 'path',
  },
  {
    // H5.
    name: 'data-mapped-without-metadata',
    file: 'map/passthrough/nvme-command.ts',
    find: 'if (error !== 0) this.finish({ transferredBytes: 0 });',
    replace: '',
    seedsMax: 50,
    world: 'path',
  },
  {
    // The first of those who wait is served for ever: only a look from beside the loop ends it.
    name: 'loop-in-a-step',
    file: 'device/submit.ts',
    find: 'waiting.shift().isWaiting = false;',
    replace: 'waiting.first.isWaiting = false;',
    seedsMax: 20,
  },
  {
    // The rest of a bio that was cut counts its ref tags from the start again.
    name: 'seed-stays-at-split',
    file: 'integrity/bio-integrity.ts',
    find: '    this.seed += intervals;',
    replace: '    void intervals;',
    seedsMax: 20,
    world: 'tuples',
  },
  {
    name: 'tuples-stay-at-split',
    file: 'integrity/bio-integrity.ts',
    find: 'let done = this.done + bytes;',
    replace: 'let done = this.done;',
    seedsMax: 20,
    world: 'tuples',
  },
  {
    // What a program counts from 5 goes to block 1000 as 5.
    name: 'ref-tags-not-mapped',
    file: 'queue/integrity-stage.ts',
    find: '    preparePayload(payload, profile, deviceBlock(bio.sector, profile));\n',
    replace: '',
    seedsMax: 20,
    world: 'tuples',
  },
  {
    name: 'metadata-not-copied-back',
    file: 'map/passthrough/user-meta.ts',
    find: 'if (meta.isCopied && done > 0) copyBack(meta, done, context);',
    replace: '',
    seedsMax: 20,
    world: 'tuples',
  },
  {
    name: 'check-of-a-program-ignored',
    file: 'map/metadata/meta-mapping.ts',
    find: 'payload.check = check;',
    replace: 'payload.check = check & 3;',
    seedsMax: 50,
    world: 'tuples',
  },
  {
    // Of type 3 an app tag of all ones alone is no escape.
    name: 'escape-without-its-ref-tag',
    file: 'integrity/tuple.ts',
    find: 'if (hasRefTag(profile)) return true;',
    replace: 'if (profile.tuple_size > 0) return true;',
    seedsMax: 50,
    world: 'tuples',
  },
  {
    name: 'payload-released-twice',
    file: 'queue/integrity-stage.ts',
    find: '    payload.keeper = null;\n    if (payload.pool',
    replace:
      '    if (payload.pool === this.#payloads) this.#release(payload);\n    if (payload.pool',
    seedsMax: 20,
    world: 'tuples',
  },
  {
    // After a failure nobody reads the metadata any more, but it has memory.
    name: 'payload-kept-after-failure',
    file: 'queue/integrity-stage.ts',
    find: '    payload.keeper = null;\n    if (payload.pool',
    replace: '    payload.keeper = null;\n    if (bio.status === 0 && payload.pool',
    seedsMax: 20,
    world: 'tuples',
  },
  {
    // The guard is that of what the block held, not of what is written.
    name: 'tuples-before-the-bounce-copy',
    file: 'device/complete.ts',
    find: `  if (!mapping.copyIn(bio, piece)) return false;
  // A device or file that ends inside this block must not be written beyond that.
  piece.phase = PiecePhase.TRANSFER;
  piece.bytes = Math.max(valid, piece.skip + piece.userBytes);
  device.bios.rearm(bio, BioOp.WRITE, sectorOf(piece.start), piece.bytes);
  if (transfer.fua) bio.flags |= BioFlag.FUA;
  device.queue.submitBio(bio);
  return true;`,
    replace: `  piece.phase = PiecePhase.TRANSFER;
  piece.bytes = Math.max(valid, piece.skip + piece.userBytes);
  device.bios.rearm(bio, BioOp.WRITE, sectorOf(piece.start), piece.bytes);
  device.queue.submitBio(bio);
  mapping.copyIn(bio, piece);
  return true;`,
    seedsMax: 20,
    world: 'tuples',
  },
  {
    // What is copied on request cannot change between its guard and the device: of a write that is
    // mapped instead, the guard is that of other bytes than those that arrive.
    name: 'copied-write-is-mapped',
    file: 'map/decide.ts',
    find: "if (policy === 'always') return MapReason.ASKED;",
    replace: "if (policy === 'always' && iter.direction === 1) return MapReason.ASKED;",
    seedsMax: 100,
    world: 'tuples',
  },
  {
    name: 'payloads-of-two-kinds-merge',
    file: 'integrity/bio-integrity.ts',
    find: 'if (front.flags !== back.flags || front.check !== back.check) return false;',
    replace: 'if (front.check !== back.check) return false;',
    seedsMax: 50,
    world: 'tuples',
  },
  {
    name: 'metadata-over-max-segments',
    file: 'integrity/bio-integrity.ts',
    find: 'if (most !== 0 && joint.frontSegments + joint.backSegments > most) return false;',
    replace: '',
    seedsMax: 50,
    world: 'tuples',
  },
  {
    name: 'last-bad-block-is-named',
    file: 'device/device-integrity.ts',
    find: 'report.block < fault.block',
    replace: 'report.block > fault.block',
    seedsMax: 50,
    world: 'tuples',
  },
  {
    name: 'bad-block-counts-as-good',
    file: 'queue/integrity-stage.ts',
    find: 'const bad = this.#fault.interval * intervalBytes(profile);',
    replace: 'const bad = (this.#fault.interval + 1) * intervalBytes(profile);',
    seedsMax: 50,
    world: 'tuples',
  },
  {
    name: 'ref-tags-from-zero',
    file: 'integrity/generate.ts',
    find: 'run.block = run.refStep * seed;',
    replace: 'run.block = 0;',
    seedsMax: 20,
    world: 'tuples',
  },
  {
    // The generation that counts may be older than the data beside it.
    name: 'commit-before-its-tuples',
    file: 'protect/tuple-store.ts',
    find: `      await this.#writeTable(indexes, sequence);
      if (isDurable) await this.#storeCalls.flush();`,
    replace: '      await this.#writeTable(indexes, sequence);',
    seedsMax: 60,
    world: 'protect',
  },
  {
    // After the cut nobody looks at what was in flight.
    name: 'open-stretch-is-not-marked',
    file: 'protect/stretch-map.ts',
    find: '      await tuples.markOpen();',
    replace: '',
    seedsMax: 60,
    world: 'protect',
  },
];

export function canaryNamed(name: string): Canary {
  const canary = CANARIES.find((known) => known.name === name);
  if (canary === undefined) throw new Error(`there is no canary '${name}'`);
  return canary;
}
