import { assert } from '../../base/assert.ts';
import { Errno } from '../../base/errno.ts';
import { PAGE_BYTES } from '../../base/units.ts';
import { type Bio, BioState } from '../../bio/bio.ts';
import { BioOp } from '../../bio/bio-op.ts';
import { BioPool } from '../../bio/bio-pool.ts';
import { SegmentWalk } from '../../dma/segment-walk.ts';
import { Iovec } from '../../iter/iovec.ts';
import type { Limits } from '../../limits/limits.ts';
import type { Profile } from '../../limits/profile.ts';
import { type BioChain, PassthroughChain } from '../../map/passthrough/bio-chain.ts';
import { mapUserIo, type UserBuffer } from '../../map/passthrough/map-user-io.ts';
import type { UserMeta } from '../../map/passthrough/meta-rows.ts';
import { NvmeCommand } from '../../map/passthrough/nvme-command.ts';
import {
  type FolioSource,
  MapOutcome,
  PassthroughContext,
} from '../../map/passthrough/passthrough-context.ts';
import { SgCommand, SgDirection } from '../../map/passthrough/sg-command.ts';
import { unmapUser } from '../../map/passthrough/unmap-user.ts';
import { copyOf } from '../../map/passthrough/user-copy.ts';
import { type MapReason, Verdict } from '../../map/verdict.ts';
import { Arena } from '../../memory/arena.ts';
import { copyIn, copyOut } from '../../memory/copy.ts';
import { CaseMemory } from './case-memory.ts';
import { metaVector } from './integrity-schema.ts';
import { MetadataReplay } from './metadata-replay.ts';
import type {
  MapCase,
  MappedRequestRecord,
  NvmeCase,
  PassthroughCase,
  PassthroughOutcome,
  SgioCase,
} from './passthrough-schema.ts';
import { recordedDevice } from './recorded-device.ts';
import { RecordedPages } from './recorded-pages.ts';
import type { CaseRecord, DeviceRecord, IovRecord } from './schema.ts';
import { userBytes, walkUser } from './user-bytes.ts';

const SG_FLAG_DIRECT_IO = 1;
/** Above it an import fails (Linux: UIO_MAXIOV). */
const VECTORS_MAX = 1024;
const SPARE_BYTES = 64 * 2 ** 20;
const FRAMES_UNIT = 1024;
/** What a page of the program holds, from another byte on in each. */
const PATTERN = new Uint8Array(2 * PAGE_BYTES).map((_, i) => i & 255);

/** What this library makes of a case. */
export interface PassthroughReplayed extends PassthroughOutcome {
  readonly verdict: Verdict;
  readonly reason: MapReason;
  /** What is wrong with the bytes: of the device for a write, of the program for a read. */
  readonly wrongBytes: string | null;
}

/** A command under way: what stands between its mapping and its end. */
interface Started {
  readonly result: number;
  readonly chain: BioChain;
  readonly outcome: MapOutcome;
  /** Metadata of the command; null: it cannot have any. */
  readonly meta: UserMeta | null;
  /** Unmaps. */
  finish(): number;
}

/** What a command names, to be looked at behind its back. */
interface ProgramMemory {
  readonly memory: CaseMemory;
  /** Of the data. */
  readonly iovec: Iovec;
  readonly metadata: MetadataReplay | null;
}

/** Runs recorded passthrough requests through `map/passthrough`; the device is played. */
export class PassthroughReplayer {
  readonly #arena: Arena;
  readonly #spare = new Arena({ label: 'oracle spare', maxBytes: SPARE_BYTES, places: false });
  readonly #bios = new BioPool({ bios: 64, rows: 64 * 256 });

  constructor(cases: readonly PassthroughCase[]) {
    const maxBytes = framesOf(cases) * PAGE_BYTES;
    this.#arena = new Arena({ label: 'oracle', maxBytes, places: false });
  }

  /** Copies through the recorded pages, but by the rules of this library through chunks. */
  run(one: PassthroughCase, record: DeviceRecord, profile: Profile): PassthroughReplayed {
    const { limits } = recordedDevice(record, profile);
    using memory = new CaseMemory(this.#arena);
    using recorded = new RecordedPages(this.#arena, this.#spare, one.request);
    const ours = profile.name === 'biovec';
    const folios: FolioSource = ours ? this.#spare : recorded;
    const context = new PassthroughContext({ limits, folios, bios: this.#bios, profile });
    const iovec = new Iovec();
    const addresses = memory.mapVectors(bufferOf(one), iovec);
    const imported = vectorsOf(one) > VECTORS_MAX ? -Errno.EINVAL : addresses;
    if (addresses >= 0) fillUser(memory, iovec);
    const buffer = { space: memory.space, iovec, imported };
    const metadata = MetadataReplay.of(one, memory);
    const started = start(one, buffer, context, recorded, metadata);
    const outcome = this.#end(one, started, limits, { memory, iovec, metadata });
    context.assertNothingOutstanding();
    this.#arena.assertNothingOutstanding({ buffers: false });
    return outcome;
  }

  #end(
    one: PassthroughCase,
    started: Started,
    limits: Limits,
    { memory, iovec, metadata }: ProgramMemory,
  ): PassthroughReplayed {
    const { result, chain, outcome, meta } = started;
    const { verdict, reason } = outcome;
    if (result !== 0) {
      const none = { unmapResult: 0, request: null, metadata: null, wrongBytes: null };
      return { verdict, reason, result, decision: 'error', ...none };
    }
    const { firstPage } = this.#arena.region;
    const request = describe(chain, limits, firstPage);
    const described = meta === null ? null : (metadata?.describe(meta, firstPage) ?? null);
    const isCopied = verdict === Verdict.COPY;
    const decision = chain.bio === null ? 'none' : isCopied ? 'copy' : 'map';
    const user = userBytes(memory, iovec, chain.bytes);
    const isComparable = user !== null && !hasAliases(one);
    const device = isComparable ? play(chain, user) : null;
    const { op } = chain;
    let wrongBytes = meta === null ? null : (metadata?.play(op, meta) ?? null);
    endBios(chain);
    const unmapResult = started.finish();
    wrongBytes ??= metadata?.check(op) ?? null;
    if (isComparable && device !== null && op === BioOp.WRITE && !isEqual(device, user)) {
      wrongBytes = 'the device got other bytes';
    }
    if (isComparable && device !== null && op === BioOp.READ && unmapResult === 0) {
      const bytes = device.length - residualOf(one);
      const after = userBytes(memory, iovec, bytes);
      const isSame = after !== null && isEqual(after, device.subarray(0, bytes));
      if (!isSame) wrongBytes = 'the program got other bytes';
    }
    const sent = { decision, request, metadata: described } as const;
    return { verdict, reason, result, unmapResult, ...sent, wrongBytes };
  }

  [Symbol.dispose](): void {
    this.#arena[Symbol.dispose]();
    this.#spare[Symbol.dispose]();
  }
}

function framesOf(cases: readonly PassthroughCase[]): number {
  let most = FRAMES_UNIT;
  for (const one of cases) {
    for (const vector of one.iov) {
      for (const [pfn, count] of vector.pages) most = Math.max(most, pfn + count);
    }
    for (const { vecs } of one.request?.bios ?? []) {
      for (const [pfn, offset, bytes] of vecs) {
        most = Math.max(most, pfn + Math.ceil((offset + bytes) / PAGE_BYTES));
      }
    }
  }
  return Math.ceil(most / FRAMES_UNIT) * FRAMES_UNIT;
}

/** The memory as it is named: one buffer is as long as the command says, whatever lies there. */
function bufferOf(one: PassthroughCase): readonly IovRecord[] {
  const isVector = one.op === 'sgio' ? one.iovecCount > 0 : one.vec;
  const vectors = dataVectors(one);
  const [first] = vectors;
  if (isVector || first === undefined) return vectors;
  const length = one.op === 'sgio' ? one.dxferLen : one.op === 'map' ? one.bufLen : one.dataLen;
  return [{ ...first, length }];
}

function dataVectors(one: PassthroughCase): readonly IovRecord[] {
  const hasMeta = one.op === 'nvme' && metaVector(one, one.iov) !== null;
  return hasMeta ? one.iov.slice(0, -1) : one.iov;
}

/** Bytes that the device did not transfer: a status of the record. */
function residualOf(one: PassthroughCase): number {
  return one.op === 'sgio' ? one.result.resid : 0;
}

function vectorsOf(one: PassthroughCase): number {
  if (one.op === 'map') return one.vec ? one.niov : 1;
  return one.op === 'sgio' ? one.iovecCount : dataVectors(one).length;
}

type Imported = Pick<UserBuffer, 'space' | 'iovec' | 'imported'>;

function start(
  one: PassthroughCase,
  buffer: Imported,
  context: PassthroughContext,
  recorded: RecordedPages,
  metadata: MetadataReplay | null,
): Started {
  switch (one.op) {
    case 'map':
      // `checkCount` changes nothing: a list without a byte is refused either way.
      return startMap(one, buffer, context);
    case 'nvme':
      return startNvme(one, buffer, context, metadata);
    case 'sgio':
      return startSg(one, buffer, context, recorded);
  }
}

function startMap(one: MapCase, imported: Imported, context: PassthroughContext): Started {
  const chain = new PassthroughChain(one.write ? BioOp.WRITE : BioOp.READ);
  const outcome = new MapOutcome();
  const buffer = { ...imported, isVector: one.vec, bytes: one.bufLen };
  const result = mapUserIo(chain, buffer, { context, outcome });
  const finish = (): number => unmapUser(chain.bio, context, { transferredBytes: chain.bytes });
  return { result, chain, outcome, meta: null, finish };
}

/** A pointer of 0 is a command without data. Linux: nvme_map_user_request(). */
function startNvme(
  one: NvmeCase,
  imported: Imported,
  context: PassthroughContext,
  metadata: MetadataReplay | null,
): Started {
  const command = new NvmeCommand(context);
  const bytes = one.iov[0]?.kind === 'null' ? 0 : one.dataLen;
  const buffer = { ...imported, isVector: one.vec && bytes > 0, bytes };
  const op = one.write ? BioOp.WRITE : BioOp.READ;
  const result = command.start(op, buffer, metadata?.buffer ?? null);
  const { chain, outcome, meta } = command;
  const finish = (): number => {
    const metaBytes = metadata?.transferredBytes ?? 0;
    return command.finish({ transferredBytes: chain.bytes, metaBytes });
  };
  return { result, chain, outcome, meta, finish };
}

function startSg(
  one: SgioCase,
  imported: Imported,
  context: PassthroughContext,
  recorded: RecordedPages,
): Started {
  const command = new SgCommand(context, one.via === 'sg' ? recorded : null);
  const isNull = one.iov[0]?.kind === 'null';
  const result = command.start({
    direction: one.write ? SgDirection.TO_DEVICE : SgDirection.FROM_DEVICE,
    buffer: { ...imported, isVector: one.iovecCount > 0, bytes: one.dxferLen },
    address: isNull ? 0 : imported.iovec.base[0],
    wantsDirect: (one.sgFlags & SG_FLAG_DIRECT_IO) !== 0,
  });
  const { chain, outcome } = command;
  const finish = (): number => command.finish(chain.bytes - residualOf(one));
  return { result, chain, outcome, meta: null, finish };
}

function describe(chain: BioChain, limits: Limits, firstPage: number): MappedRequestRecord {
  const bios: MappedRequestRecord['bios'][number][] = [];
  for (let bio: Bio | null = chain.bio; bio !== null; bio = bio.next) {
    const { page, offset, len } = bio.table;
    const vecs = Array.from({ length: bio.vcnt }, (_, i) => {
      const row = (bio as Bio).first + i;
      return [page[row] - firstPage, offset[row], len[row]];
    });
    bios.push({ bytes: bio.size, copied: copyOf(bio) !== null, vecs });
  }
  const walk = new SegmentWalk();
  const sg: number[][] = [];
  walk.start(chain.bio, limits, 'bios');
  while (walk.next()) sg.push([walk.addr - firstPage * PAGE_BYTES, walk.len]);
  return { bytes: chain.bytes, nrPhysSegments: chain.segments, bios, sg };
}

/** The device's part: what it read, or what it wrote. */
function play(chain: BioChain, user: Uint8Array): Uint8Array {
  const bytes = new Uint8Array(user.length);
  if (chain.op === BioOp.READ) for (let i = 0; i < bytes.length; i++) bytes[i] = (i * 7 + 3) & 255;
  let at = 0;
  for (let bio: Bio | null = chain.bio; bio !== null; bio = bio.next) {
    const { page, offset, len } = bio.table;
    for (let row = bio.first; row < bio.first + bio.vcnt; row++) {
      if (chain.op === BioOp.READ) copyIn(page[row], offset[row], bytes, at, len[row]);
      else copyOut(bytes, at, page[row], offset[row], len[row]);
      at += len[row];
    }
  }
  return bytes;
}

function endBios(chain: BioChain): void {
  for (let bio: Bio | null = chain.bio; bio !== null; bio = bio.next) bio.state = BioState.ENDED;
}

/** Every page gets bytes of its own, as far as the program has memory. */
function fillUser(memory: CaseMemory, iovec: Iovec): void {
  walkUser(memory, iovec, iovec.totalBytes, (page, offset, len) => {
    copyIn(page, offset, PATTERN, ((page * 31) & 255) + (offset & 255), len);
  });
}

/** One page under two vectors: what a read leaves there is not determined. */
function hasAliases(one: PassthroughCase): boolean {
  const frames = one.iov.flatMap(({ pages }) =>
    pages.flatMap(([pfn, count]) => Array.from({ length: count }, (_, i) => pfn + i)),
  );
  return new Set(frames).size < frames.length;
}

function isEqual(left: Uint8Array, right: Uint8Array): boolean {
  return Buffer.compare(left, right) === 0;
}

export function isPassthrough(one: CaseRecord): boolean {
  return one.op === 'map' || one.op === 'sgio' || one.op === 'nvme';
}

/** Cases as this replay reads them. */
export function passthroughCases(cases: readonly CaseRecord[]): readonly PassthroughCase[] {
  assert(cases.every(isPassthrough), 'passthrough: a record of another topic');
  return cases as unknown as readonly PassthroughCase[];
}
