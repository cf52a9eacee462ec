import { fail } from '../../base/assert.ts';
import { type Probe, ProbePoint } from '../../base/probe.ts';
import { PAGE_BYTES } from '../../base/units.ts';
import type { Bio } from '../../bio/bio.ts';
import { BIO_OP_NAMES } from '../../bio/bio-op.ts';
import { BvecCursor } from '../../bvec/bvec-cursor.ts';
import type { Limits } from '../../limits/limits.ts';
import type { Request } from '../../queue/request.ts';
import type { CasePayloads } from './case-payloads.ts';
import type { BioRecord, RequestRecord, VecRecord } from './schema.ts';
import { sgList } from './sg-list.ts';

/** Writes down what the queue and the engine do, in the words of the kernel's tracepoints. */
export class CaseTrace implements Probe {
  readonly bios: BioRecord[] = [];
  readonly events: string[] = [];
  readonly requests: RequestRecord[] = [];
  /** Page number of the frame that the record calls 0. */
  readonly #firstPage: number;

  constructor(firstPage: number) {
    this.#firstPage = firstPage;
  }

  hit(point: ProbePoint, _traceId: number, subject: object, a: number, b: number, c: number): void {
    switch (point) {
      case ProbePoint.BIO_QUEUE:
        this.bios.push(this.#bioRecord(subject as Bio));
        this.events.push(`queue ${BIO_OP_NAMES[a]} ${b}+${c}`);
        break;
      case ProbePoint.SPLIT:
        this.events.push(`split ${a}+${b} rest ${a + b}`);
        break;
      case ProbePoint.GET_REQUEST:
        this.events.push(`getrq ${b}+${c}`);
        break;
      case ProbePoint.BACK_MERGE:
        this.events.push(`backmerge ${b}+${c}`);
        break;
      case ProbePoint.FRONT_MERGE:
        this.events.push(`frontmerge ${b}+${c}`);
        break;
      default: // The engine tells of issue and completion; the rest is no tracepoint.
        break;
    }
  }

  /** A scheduler joined `next` to the end of a request that it holds. */
  requestMerge(next: Request): void {
    this.events.push(`rqmerge ${next.sector}+${next.sectors}`);
  }

  /** One request goes to the device: `parts` in order are all that the scheduler made of it. */
  issue(
    parts: readonly Request[],
    limits: Limits,
    status: number,
    payloads: CasePayloads | null,
  ): void {
    const bios = parts.flatMap((part) => biosOf(part));
    const [first] = parts;
    const base = this.#firstPage * PAGE_BYTES;
    const op = BIO_OP_NAMES[first.op];
    const bytes = sumOf(parts.map((part) => part.bytes));
    this.events.push(`issue ${op} ${first.sector}+${bytes / 512}`);
    this.requests.push({
      op,
      sector: first.sector,
      bytes,
      nrPhysSegments: sumOf(parts.map((part) => part.segments)),
      status,
      bios: bios.map((bio) => [bio.sector, bio.size, vecCount(bio)]),
      sg: sgList(bios, limits).map(([address, length]) => [address - base, length]),
      ...(payloads?.issue(parts, bios, limits) ?? {}),
    });
  }

  complete(sector: number, bytes: number, status: number): void {
    this.events.push(`complete ${sector}+${bytes / 512} status ${status}`);
  }

  #bioRecord(bio: Bio): BioRecord {
    const cursor = new BvecCursor();
    const vecs: VecRecord[] = [];
    cursor.start(bio.table, bio.row, bio.done, bio.size);
    while (cursor.multi()) {
      const before = Math.floor(cursor.offset / PAGE_BYTES);
      const pfn = cursor.page + before - this.#firstPage;
      if (pfn < 0) fail('trace: a page outside the replay');
      const vec = [pfn, cursor.offset % PAGE_BYTES, cursor.len];
      vecs.push(before === 0 ? vec : [...vec, before]);
      cursor.advance(cursor.len);
    }
    return { op: BIO_OP_NAMES[bio.op], sector: bio.sector, bytes: bio.size, vecs };
  }
}

function biosOf(request: Request): Bio[] {
  const bios: Bio[] = [];
  for (let bio = request.bio; bio !== null; bio = bio.next) bios.push(bio);
  return bios;
}

function vecCount(bio: Bio): number {
  const cursor = new BvecCursor();
  let count = 0;
  cursor.start(bio.table, bio.row, bio.done, bio.size);
  for (; cursor.multi(); count++) cursor.advance(cursor.len);
  return count;
}

function sumOf(numbers: readonly number[]): number {
  return numbers.reduce((sum, number) => sum + number, 0);
}
