import { PAGE_BYTES } from '../../base/units.ts';
import { BioOp } from '../../bio/bio-op.ts';
import { BvecCursor } from '../../bvec/bvec-cursor.ts';
import type { BvecTable } from '../../bvec/bvec-table.ts';
import { Iovec } from '../../iter/iovec.ts';
import type { UserMeta } from '../../map/passthrough/meta-rows.ts';
import type { MetaBuffer } from '../../map/passthrough/nvme-command.ts';
import { deviceRows } from '../../map/passthrough/user-meta.ts';
import { copyIn, copyOut } from '../../memory/copy.ts';
import { bytesOfHex, hexOfBytes } from './case-data.ts';
import type { CaseMemory } from './case-memory.ts';
import { metaVector } from './integrity-schema.ts';
import type { MappedMetadata, NvmeCase, PassthroughCase } from './passthrough-schema.ts';
import { userBytes, walkUser } from './user-bytes.ts';

/** The metadata of one recorded NVMe command: the program's memory, and the device's part. */
export class MetadataReplay {
  readonly #one: NvmeCase;
  readonly #memory: CaseMemory;
  readonly #iovec = new Iovec();
  readonly #addr: number;

  private constructor(one: NvmeCase, memory: CaseMemory) {
    this.#one = one;
    this.#memory = memory;
    const vector = metaVector(one, one.iov);
    this.#addr = vector === null ? 0 : memory.mapVector(vector);
    if (vector !== null && vector.kind === 'pool') this.#fill();
  }

  /** null: `one` is no command that could have metadata. */
  static of(one: PassthroughCase, memory: CaseMemory): MetadataReplay | null {
    return one.op === 'nvme' && one.metaLen > 0 ? new MetadataReplay(one, memory) : null;
  }

  get buffer(): MetaBuffer {
    return { space: this.#memory.space, addr: this.#addr, bytes: this.#one.metaLen };
  }

  /** Metadata that the device transferred: it has all of it, or the command failed. */
  get transferredBytes(): number {
    return this.#one.result.ret === 0 ? this.#one.metaLen : 0;
  }

  #fill(): void {
    const { metaIn, metaLen } = this.#one;
    this.#iovec.importRange(this.#addr, metaLen);
    if (metaIn === undefined) return;
    const bytes = bytesOfHex(metaIn);
    walkUser(this.#memory, this.#iovec, bytes.length, (page, offset, len, at) => {
      copyIn(page, offset, bytes, at, len);
    });
  }

  describe(meta: UserMeta, firstPage: number): MappedMetadata | null {
    if (!meta.isAttached) return null;
    const { table, rows } = deviceRows(meta);
    const vecs = Array.from({ length: rows }, (_, row) => [
      table.page[row] - firstPage,
      table.offset[row],
      table.len[row],
    ]);
    const isCopied = meta.isCopied;
    return {
      decision: isCopied ? 'copy' : 'map',
      bytes: meta.bytes,
      vecs: isCopied ? [] : vecs,
      segments: segmentsOf(table, rows, meta.bytes),
    };
  }

  /** The device's part, between the two halves of the command. What is wrong, or null. */
  play(op: BioOp, meta: UserMeta): string | null {
    if (!meta.isAttached) return null;
    const { metaIn, metaOut = '' } = this.#one;
    if (op === BioOp.READ) {
      moveRows(meta, bytesOfHex(metaOut), true);
      return null;
    }
    if (metaIn === undefined) return null;
    const seen = new Uint8Array(metaIn.length / 2);
    moveRows(meta, seen, false);
    return hexOfBytes(seen) === metaIn ? null : 'the device got other metadata';
  }

  /** After the end, of what a read left with the program. What is wrong, or null. */
  check(op: BioOp): string | null {
    const { metaOut = '' } = this.#one;
    if (op !== BioOp.READ || this.transferredBytes === 0) return null;
    const seen = userBytes(this.#memory, this.#iovec, metaOut.length / 2);
    const isSame = seen !== null && hexOfBytes(seen) === metaOut;
    return isSame ? null : 'the program got other metadata';
  }
}

/** Rows that touch are one segment. */
function segmentsOf(table: BvecTable, rows: number, bytes: number): number {
  const cursor = new BvecCursor();
  cursor.start(table, 0, 0, rows === 0 ? 0 : bytes);
  let segments = 0;
  let end = -1;
  while (cursor.multi()) {
    const start = cursor.page * PAGE_BYTES + cursor.offset;
    if (start !== end) segments++;
    end = start + cursor.len;
    cursor.advance(cursor.len);
  }
  return segments;
}

function moveRows(meta: UserMeta, bytes: Uint8Array, toRows: boolean): void {
  const { table, rows } = deviceRows(meta);
  let at = 0;
  for (let row = 0; row < rows && at < bytes.length; row++) {
    const len = Math.min(table.len[row], bytes.length - at);
    if (toRows) copyIn(table.page[row], table.offset[row], bytes, at, len);
    else copyOut(bytes, at, table.page[row], table.offset[row], len);
    at += len;
  }
}
