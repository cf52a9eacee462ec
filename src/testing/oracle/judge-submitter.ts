import { Errno } from '../../base/errno.ts';
import { DEFAULT_PROFILE } from '../../limits/profile.ts';
import { directPart } from './direct-part.ts';
import { MEDIUM_ERROR, recordedDevice } from './recorded-device.ts';
import {
  type CaseRecord,
  type DeviceRecord,
  type Outcome,
  type RecordFile,
  type TransferCase,
  whyNotCovered,
} from './schema.ts';
import { type Submitted, SubmitterReplay } from './submitter.ts';

/** Vectors of a bio, hence the pages of a transfer that the kernel sends in one. */
const ONE_BIO_PAGES = 256;
const PAGE_BYTES = 4096;

/** Where the submitter means to answer otherwise than the kernel's file operations. */
interface SubmitterRule {
  readonly name: string;
  readonly reason: string;
  /** Looks at the input of a case alone. */
  applies(one: TransferCase, device: DeviceRecord): boolean;
  /** What ours must answer then: bytes, or -errno. */
  answer(sentBytes: number): number;
}

export const SUBMITTER_RULES: readonly SubmitterRule[] = [
  {
    name: 'device-error-kept',
    reason:
      'a bio failed on the disk and a later one faulted: the kernel tells of the fault alone; ' +
      'here the error of bytes that were sent comes before the fault of bytes that were not',
    applies: (one, device) => isLong(one) && failsOnDisk(device),
    answer: () => MEDIUM_ERROR,
  },
  {
    name: 'count-before-fault',
    reason:
      'above 256 pages the kernel answers EFAULT to what it has sent; here the count comes ' +
      'first and the error when the rest is asked for, as for a short transfer',
    applies: (one) => isLong(one),
    answer: (sentBytes) => sentBytes,
  },
  {
    name: 'whole-blocks',
    reason:
      'less than a block lies before the fault: the kernel transfers it through its page cache; ' +
      'here direct I/O ends at the last whole block',
    applies: (one, device) => bytesBeforeHole(one) % blockBytes(device) !== 0,
    answer: (sentBytes) => sentBytes,
  },
];

export type SubmitterVerdict =
  | { readonly kind: 'agree' }
  | { readonly kind: 'rule'; readonly rule: string }
  | { readonly kind: 'differ'; readonly why: string };

export interface SubmitterJudged {
  readonly one: TransferCase;
  readonly verdict: SubmitterVerdict;
}

/**
 * Runs the `fault-*` cases of `file` through the library's own submitter. In all of them what
 * reaches the device must be the kernel's direct bytes, at its place, and a rest that was not
 * transferred must be EFAULT when it is asked for; only the result may differ, by rule.
 */
export async function* judgeSubmitter(file: RecordFile): AsyncGenerator<SubmitterJudged> {
  const cases = file.cases.filter((one) => isFault(one));
  using replay = new SubmitterReplay(cases);
  for (const one of cases) {
    const device = file.devices[one.device];
    yield { one, verdict: verdictOn(one, device, await replay.run(one, device, DEFAULT_PROFILE)) };
  }
}

function isFault(one: CaseRecord): one is TransferCase {
  const isTransfer = one.op === 'read' || one.op === 'write';
  return isTransfer && one.id.startsWith('fault-') && whyNotCovered(one) === null;
}

function verdictOn(one: TransferCase, device: DeviceRecord, ours: Submitted): SubmitterVerdict {
  const kernel = directPart(one);
  const sent = placeOf(kernel);
  if (sent !== placeOf(ours)) return differ(`sent ${sent}`, placeOf(ours));
  if (ours.again !== null && ours.again !== -Errno.EFAULT) return differ('EFAULT', ours.again);
  const result = resultOf(ours);
  if (result === resultOf(kernel)) return { kind: 'agree' };
  const rule = SUBMITTER_RULES.find((candidate) => candidate.applies(one, device));
  const answer = rule === undefined ? resultOf(kernel) : rule.answer(bytesOf(ours));
  if (rule === undefined || result !== answer) return differ(answer, result);
  return { kind: 'rule', rule: rule.name };
}

function differ(expected: string | number, actual: string | number): SubmitterVerdict {
  return { kind: 'differ', why: `expected ${expected}, ours ${actual}` };
}

/** Bytes, or -errno. */
function resultOf({ result: { ret = 0, errno = 0 } }: Outcome): number {
  return ret < 0 ? -errno : ret;
}

/** Where the bytes of the bios lie on the device: they are adjacent, however they were cut. */
function placeOf(outcome: Outcome): string {
  const [first] = outcome.bios;
  return first === undefined ? 'nothing' : `${first.op} ${first.sector}+${bytesOf(outcome)}`;
}

function bytesOf({ bios }: Outcome): number {
  return bios.reduce((sum, bio) => sum + bio.bytes, 0);
}

function isLong(one: TransferCase): boolean {
  const pages = one.iov.map(({ offset, length }) => Math.ceil((offset + length) / PAGE_BYTES));
  return pages.reduce((sum, count) => sum + count, 0) > ONE_BIO_PAGES;
}

function failsOnDisk(device: DeviceRecord): boolean {
  return recordedDevice(device, DEFAULT_PROFILE).failSector >= 0;
}

function blockBytes(device: DeviceRecord): number {
  return recordedDevice(device, DEFAULT_PROFILE).limits.logical_block_size;
}

function bytesBeforeHole(one: TransferCase): number {
  let bytes = 0;
  for (const { offset, length, holePage } of one.iov) {
    if (holePage !== undefined) return bytes + Math.max(holePage * PAGE_BYTES - offset, 0);
    bytes += length;
  }
  return bytes;
}
