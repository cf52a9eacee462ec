import assert from 'node:assert/strict';
import { test } from 'node:test';
import { PAGE_BYTES } from '../base/units.ts';
import { type CommandPointer, ControllerView } from './controller-view.ts';
import { DmaDevice } from './dma-device.ts';
import { DmaPerm } from './dma-status.ts';
import { bytesAt, fillEntries, lowArena, pattern } from './dma-world.fuzz.ts';
import { NvmePsdt, NvmeStatus, SglType } from './nvme-pointer.ts';

const memory = lowArena.alloc(64 * PAGE_BYTES, 'controller');
const EMPTY: CommandPointer = {
  psdt: NvmePsdt.PRP,
  prp1: 0,
  prp2: 0,
  sglAddress: 0,
  sglBytes: 0,
  sglType: 0,
};

/** Memory as the device says it, without an IOMMU: a page of words to lay lists in. */
function words(page: number, values: readonly (number | bigint)[], at = 0): number {
  const bytes = bytesAt({ page, offset: 0, len: PAGE_BYTES });
  const view = new DataView(bytes.buffer, bytes.byteOffset, PAGE_BYTES);
  bytes.fill(0);
  values.forEach((value, i) => {
    view.setBigUint64(at + i * 8, BigInt(value), true);
  });
  return page * PAGE_BYTES;
}

test('a PRP that the specification forbids ends the command with the status for it', () => {
  const view = new ControllerView(new DmaDevice());
  const A = (memory.page + 20) * PAGE_BYTES;
  const page = memory.page + 40;
  const P = PAGE_BYTES;
  const listAt = page * P;
  const { PRP_OFFSET_INVALID, DATA_TRANSFER_ERROR, SUCCESS } = NvmeStatus;
  const nowhere = 4000 * 2 ** 32;
  const cases: [string, number[], Partial<CommandPointer>, number, NvmeStatus, number][] = [
    ['PRP1 off the dword', [], { prp1: A + 2 }, 512, PRP_OFFSET_INVALID, 0],
    ['PRP2 off its page', [], { prp1: A, prp2: A + P + 8 }, 2 * P, PRP_OFFSET_INVALID, P],
    ['list off the qword', [], { prp1: A, prp2: listAt + 4 }, 3 * P, PRP_OFFSET_INVALID, P],
    ['entry off its page', [A, A + 8], { prp1: A, prp2: listAt }, 3 * P, PRP_OFFSET_INVALID, 2 * P],
    [
      'a list may start inside its page',
      [0, A, A],
      { prp1: A, prp2: listAt + 8 },
      3 * P,
      SUCCESS,
      3 * P,
    ],
    ['PRP1 nowhere', [], { prp1: nowhere }, 512, DATA_TRANSFER_ERROR, 0],
    ['list nowhere', [], { prp1: A, prp2: nowhere }, 3 * P, DATA_TRANSFER_ERROR, P],
    ['entry nowhere', [A, nowhere], { prp1: A, prp2: listAt }, 3 * P, DATA_TRANSFER_ERROR, 2 * P],
  ];
  const into = new Uint8Array(4 * P);
  for (const [name, list, fields, bytes, status, done] of cases) {
    words(page, list);
    assert.equal(view.read({ ...EMPTY, ...fields }, bytes, into), done, name);
    assert.equal(view.status, status, name);
    assert.ok(!view.next(), 'the walk has ended');
  }
  assert.throws(() => view.start(EMPTY, 0, DmaPerm.READ), /of nothing/);
});

test('the last slot of a list page is data if that ends the command, else it leads on', () => {
  const view = new ControllerView(new DmaDevice());
  const P = PAGE_BYTES;
  const data = [20, 21, 22, 23].map((page) => ({ page: memory.page + page, offset: 0, len: P }));
  const [a, b, c, d] = data.map(({ page }) => page * P);
  fillEntries(data, pattern(4 * P, 2));
  const [page, next] = [memory.page + 40, memory.page + 42];
  const into = new Uint8Array(4 * P);
  const pointer = { ...EMPTY, prp1: a, prp2: page * P + P - 16 };
  words(page, [b, c], P - 16);
  assert.equal(view.read(pointer, 3 * P, into), 3 * P);
  assert.deepEqual(into.subarray(0, 3 * P), pattern(3 * P, 2));
  words(page, [b, next * P], P - 16);
  words(next, [c, d]);
  assert.equal(view.read(pointer, 4 * P, into), 4 * P);
  assert.deepEqual(into, pattern(4 * P, 2));
  words(page, [b, next * P + 16], P - 16);
  assert.equal(view.read(pointer, 4 * P, into), 2 * P, 'a list goes on at the start of a page');
  assert.equal(view.status, NvmeStatus.PRP_OFFSET_INVALID);
});

const DATA_AT = (memory.page + 20) * PAGE_BYTES;
const SGL_PAGE = memory.page + 41;
const SGL_AT = SGL_PAGE * PAGE_BYTES;
const { DATA_BLOCK, SEGMENT, LAST_SEGMENT } = SglType;
const one = (address: number, bytes: number, type: number): (number | bigint)[] => [
  address,
  BigInt(bytes) + (BigInt(type) << 56n),
];
const top = (bytes: number, type: number): Partial<CommandPointer> => ({
  sglAddress: SGL_AT,
  sglBytes: bytes,
  sglType: type,
});
const S = NvmeStatus;
const BAD_SGLS: [
  string,
  (number | bigint)[],
  Partial<CommandPointer>,
  number,
  NvmeStatus,
  number,
][] = [
  [
    'a block that is too short',
    [],
    { sglAddress: DATA_AT, sglBytes: 100 },
    101,
    S.SGL_LENGTH_INVALID,
    100,
  ],
  ['a block that is longer', [], { sglAddress: DATA_AT, sglBytes: 500 }, 101, S.SUCCESS, 101],
  ['a type that is none', [], top(16, 0x50), 8, S.SGL_TYPE_INVALID, 0],
  ['a segment of nothing', [], top(0, LAST_SEGMENT), 8, S.SGL_SEGMENT_INVALID, 0],
  ['a segment of odd size', [], top(24, LAST_SEGMENT), 8, S.SGL_SEGMENT_INVALID, 0],
  [
    'too few descriptors',
    [...one(DATA_AT, 8, DATA_BLOCK), ...one(DATA_AT, 4, DATA_BLOCK)],
    top(32, LAST_SEGMENT),
    16,
    S.SGL_LENGTH_INVALID,
    12,
  ],
  [
    'a segment that does not go on',
    one(DATA_AT, 8, DATA_BLOCK),
    top(16, SEGMENT),
    16,
    S.SGL_SEGMENT_INVALID,
    8,
  ],
  [
    'a chain in the last segment',
    one(SGL_AT, 16, LAST_SEGMENT),
    top(16, LAST_SEGMENT),
    8,
    S.SGL_SEGMENT_INVALID,
    0,
  ],
  [
    'a chain in the middle, to what would be data',
    [...one(SGL_AT + 16, 16, LAST_SEGMENT), ...one(DATA_AT, 8, DATA_BLOCK)],
    top(32, SEGMENT),
    8,
    S.SGL_SEGMENT_INVALID,
    0,
  ],
  ['a circle', one(SGL_AT, 16, SEGMENT), top(16, SEGMENT), 8, S.SGL_COUNT_INVALID, 0],
  [
    'an empty block is legal',
    [...one(DATA_AT, 0, DATA_BLOCK), ...one(DATA_AT, 8, DATA_BLOCK)],
    top(32, LAST_SEGMENT),
    8,
    S.SUCCESS,
    8,
  ],
];

test('an SGL that the specification forbids ends the command with the status for it', () => {
  const view = new ControllerView(new DmaDevice());
  const into = new Uint8Array(1000);
  for (const [name, list, fields, bytes, status, done] of BAD_SGLS) {
    words(SGL_PAGE, list);
    const pointer = { ...EMPTY, psdt: NvmePsdt.SGL, ...fields };
    assert.equal(view.read(pointer, bytes, into), done, name);
    assert.equal(view.status, status, name);
  }
});
