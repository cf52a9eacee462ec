import assert from 'node:assert/strict';
import { test } from 'node:test';
import { threadId } from 'node:worker_threads';
import { RingLeases } from './ring-leases.ts';
import type { RingLibc } from './ring-libc.ts';

/** Says what it was told to give back. */
function listener(): { readonly libc: RingLibc; readonly given: string[] } {
  const given: string[] = [];
  const libc = {
    close: (fd: number) => given.push(`close ${fd}`),
    munmap: (address: number, bytes: number) => given.push(`unmap ${address}+${bytes}`),
  };
  return { libc: libc as unknown as RingLibc, given };
}

test('what was not dropped is given back, once, and for that thread only', () => {
  const memory = new SharedArrayBuffer(800 * 24);
  const leases = new RingLeases(memory);
  leases.descriptor(20);
  leases.descriptor(21);
  leases.mapping(2 ** 46 + 4096, 8192);
  leases.mapping(4096, 4096);
  leases.dropDescriptor(21);
  leases.dropMapping(4096);
  const { libc, given } = listener();
  assert.equal(
    leases.endOf(threadId + 1, () => libc),
    0,
  );
  assert.equal(
    leases.endOf(threadId, () => null),
    0,
    'without foreign functions nothing is lost',
  );
  assert.equal(
    new RingLeases(memory).endOf(threadId, () => libc),
    2,
  );
  assert.deepEqual(given, ['close 20', `unmap ${2 ** 46 + 4096}+8192`]);
  assert.equal(
    leases.endOf(threadId, () => libc),
    0,
  );
});

test('rows are used again; a descriptor and an address of one value are two things', () => {
  const leases = new RingLeases();
  for (let i = 0; i < 5000; i++) {
    leases.descriptor(i);
    leases.dropDescriptor(i);
  }
  leases.mapping(20, 4096);
  leases.descriptor(20);
  leases.dropDescriptor(20);
  const { libc, given } = listener();
  leases.endOf(threadId, () => libc);
  assert.deepEqual(given, ['unmap 20+4096']);
});

test('a full table notes no more, and what it has is still right', () => {
  const leases = new RingLeases();
  for (let i = 0; i < 1000; i++) leases.descriptor(i);
  leases.dropDescriptor(999);
  const { libc, given } = listener();
  assert.equal(
    leases.endOf(threadId, () => libc),
    800,
  );
  assert.equal(given[799], 'close 799');
});
