// The contract between a fault and the handler of an area (reference 1.2): what a handler may
// answer, what the lock does, and that nothing outside the contract reaches the caller as success.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { BlockError } from '../../base/block-error.ts';
import { Errno } from '../../base/errno.ts';
import { PAGE_BYTES } from '../../base/units.ts';
import { Access } from '../address-space.ts';
import { refCount } from '../holds.ts';
import { FaultFlag, type FaultRequest, FaultResult, Protection } from './area.ts';
import { mapEntry } from './entry.ts';
import { Pte } from './page-table.ts';
import { ADDR, retry, ScriptedMachine, ScriptedOps } from './scripted-ops.fuzz.ts';
import type { UserSpace } from './user-space.ts';

const READ_WRITE = Protection.READ | Protection.WRITE;

test('DONE: the entry is there, with the reference that came with the page', () => {
  using machine = new ScriptedMachine();
  const ops = new ScriptedOps(machine.done);
  machine.map(ops);
  assert.equal(machine.space.fault(ADDR + PAGE_BYTES + 5, Access.READ, 0), 0);
  assert.deepEqual(ops.seen, [{ access: Access.READ, flags: 0, index: 8 }]);
  assert.equal(machine.space.table.frameAt(ADDR / PAGE_BYTES + 1), machine.page);
  assert.equal(refCount(machine.page), 2);
  assert.equal(machine.space.lockHeld, false);
});

test('RETRY: the lock is dropped, the caller waits, the same page is tried again as TRIED', () => {
  using machine = new ScriptedMachine();
  const ops: ScriptedOps = new ScriptedOps(
    retry(() => ops),
    retry(() => ops),
    machine.done,
  );
  machine.map(ops);
  const { space } = machine;
  for (let round = 0; round < 2; round++) {
    assert.equal(space.fault(ADDR, Access.READ, FaultFlag.ALLOW_RETRY), -Errno.EAGAIN);
    assert.equal(space.lockHeld, false);
    assert.equal(space.table.bitsAt(ADDR / PAGE_BYTES), 0);
    let woken = 0;
    space.whenReady(() => woken++);
    assert.equal(woken, 0, 'never from inside');
    for (const wake of ops.waiting.splice(0)) wake();
    assert.equal(woken, 1);
  }
  assert.equal(space.fault(ADDR, Access.READ, FaultFlag.ALLOW_RETRY), 0);
  const { ALLOW_RETRY, TRIED } = FaultFlag;
  const flags = ops.seen.map((seen) => seen.flags);
  assert.deepEqual(flags, [ALLOW_RETRY, ALLOW_RETRY | TRIED, ALLOW_RETRY | TRIED]);
  assert.equal(machine.memory.counters.retries, 2);
});

test('TRIED belongs to the page that was refused, not to the next fault elsewhere', () => {
  using machine = new ScriptedMachine();
  const ops: ScriptedOps = new ScriptedOps(
    retry(() => ops),
    machine.done,
  );
  machine.map(ops);
  assert.equal(machine.space.fault(ADDR, Access.READ, FaultFlag.ALLOW_RETRY), -Errno.EAGAIN);
  assert.equal(machine.space.fault(ADDR + PAGE_BYTES, Access.READ, FaultFlag.ALLOW_RETRY), 0);
  assert.equal(ops.seen[1]?.flags, FaultFlag.ALLOW_RETRY);
});

test('two faults wait at the same time: each is TRIED when its page is asked for again', () => {
  using machine = new ScriptedMachine();
  const ops: ScriptedOps = new ScriptedOps(
    retry(() => ops),
    retry(() => ops),
    machine.done,
  );
  machine.map(ops);
  const { space } = machine;
  const other = ADDR + PAGE_BYTES;
  assert.equal(space.fault(ADDR, Access.READ, FaultFlag.ALLOW_RETRY), -Errno.EAGAIN);
  assert.equal(space.fault(other, Access.READ, FaultFlag.ALLOW_RETRY), -Errno.EAGAIN);
  for (const addr of [ADDR, other]) {
    assert.equal(space.fault(addr, Access.READ, FaultFlag.ALLOW_RETRY), 0);
    assert.equal((ops.seen.at(-1)?.flags ?? 0) & FaultFlag.TRIED, FaultFlag.TRIED);
  }
  machine.memory.unmapFolio(machine.page);
  assert.equal(space.fault(ADDR, Access.READ, FaultFlag.ALLOW_RETRY), 0);
  assert.equal(ops.seen.at(-1)?.flags, FaultFlag.ALLOW_RETRY, 'a later fault is a new one');
});

test('RETRY with RETRY_NOWAIT keeps the lock', () => {
  using machine = new ScriptedMachine();
  const ops: ScriptedOps = new ScriptedOps(
    retry(() => ops),
    machine.done,
  );
  machine.map(ops);
  const flags = FaultFlag.ALLOW_RETRY | FaultFlag.RETRY_NOWAIT;
  assert.equal(machine.space.fault(ADDR, Access.READ, flags), -Errno.EAGAIN);
  assert.equal(machine.space.handlerError, null);
  assert.equal(machine.space.fault(ADDR, Access.READ, flags), 0);
});

test('COMPLETED: the handler filled the table; everything is looked up anew', () => {
  using machine = new ScriptedMachine();
  const ops = new ScriptedOps((space, request) => {
    machine.memory.getPage(machine.page);
    mapEntry(space, request.address / PAGE_BYTES, machine.page, Pte.PRESENT);
    space.dropLock();
    return FaultResult.COMPLETED;
  });
  machine.map(ops);
  assert.equal(machine.space.fault(ADDR, Access.READ, FaultFlag.ALLOW_RETRY), 0);
  assert.equal(ops.seen.length, 1);
});

test('COMPLETED, and the mapping went away while the lock was dropped: -EFAULT', () => {
  using machine = new ScriptedMachine();
  const ops = new ScriptedOps((space) => {
    space.dropLock();
    space.munmap(ADDR, 2 * PAGE_BYTES);
    return FaultResult.COMPLETED;
  });
  machine.map(ops);
  assert.equal(machine.space.fault(ADDR, Access.READ, FaultFlag.ALLOW_RETRY), -Errno.EFAULT);
  assert.equal(machine.space.handlerError, null, 'nobody broke the contract');
});

test('an errno of the handler is the result of the fault', () => {
  for (const errno of [Errno.EFAULT, Errno.ENOMEM, Errno.EIO, Errno.ENOSPC]) {
    using machine = new ScriptedMachine();
    machine.map(new ScriptedOps(() => -errno));
    assert.equal(machine.space.fault(ADDR, Access.WRITE, FaultFlag.ALLOW_RETRY), -errno);
    assert.equal(machine.space.handlerError, null);
  }
});

interface Illegal {
  readonly what: string;
  readonly flags: number;
  readonly answer: (space: UserSpace, request: FaultRequest) => number;
  readonly says: RegExp;
}

const NO_WAIT = { add: (): void => undefined };
const ILLEGAL: readonly Illegal[] = [
  {
    what: 'RETRY that was not allowed',
    flags: 0,
    answer: (space, request) => {
      space.dropLock();
      request.wait = NO_WAIT;
      return FaultResult.RETRY;
    },
    says: /answered RETRY, which was not allowed/,
  },
  {
    what: '-EBUSY from a fault',
    flags: FaultFlag.ALLOW_RETRY,
    answer: () => -Errno.EBUSY,
    says: /answered -EBUSY from a fault/,
  },
  {
    what: '-EAGAIN from a fault',
    flags: FaultFlag.ALLOW_RETRY,
    answer: () => -Errno.EAGAIN,
    says: /answered -EAGAIN from a fault/,
  },
  {
    what: 'RETRY that kept the lock',
    flags: FaultFlag.ALLOW_RETRY,
    answer: (_space, request) => {
      request.wait = NO_WAIT;
      return FaultResult.RETRY;
    },
    says: /kept the lock/,
  },
  {
    what: 'RETRY_NOWAIT that dropped the lock',
    flags: FaultFlag.ALLOW_RETRY | FaultFlag.RETRY_NOWAIT,
    answer: (space, request) => {
      space.dropLock();
      request.wait = NO_WAIT;
      return FaultResult.RETRY;
    },
    says: /dropped the lock/,
  },
  {
    what: 'DONE that dropped the lock',
    flags: FaultFlag.ALLOW_RETRY,
    answer: (space) => {
      space.dropLock();
      return FaultResult.DONE;
    },
    says: /dropped the lock/,
  },
  {
    what: 'COMPLETED that kept the lock',
    flags: FaultFlag.ALLOW_RETRY,
    answer: () => FaultResult.COMPLETED,
    says: /kept the lock/,
  },
  {
    what: 'COMPLETED for ever, without an entry',
    flags: FaultFlag.ALLOW_RETRY,
    answer: (space) => {
      space.dropLock();
      return FaultResult.COMPLETED;
    },
    says: /left no usable entry/,
  },
  {
    what: 'RETRY without anything to wait for',
    flags: FaultFlag.ALLOW_RETRY,
    answer: (space) => {
      space.dropLock();
      return FaultResult.RETRY;
    },
    says: /RETRY for nothing/,
  },
  {
    what: 'an answer that means nothing',
    flags: FaultFlag.ALLOW_RETRY,
    answer: () => 3,
    says: /answered 3/,
  },
  {
    what: 'a page that nobody holds',
    flags: FaultFlag.ALLOW_RETRY,
    answer: (_space, request) => {
      request.page = 2 ** 31;
      return FaultResult.DONE;
    },
    says: /nobody holds or knows/,
  },
];

for (const { what, flags, answer, says } of ILLEGAL) {
  test(`illegal: ${what} is -EFAULT and an error that names the handler`, async () => {
    using machine = new ScriptedMachine();
    machine.map(new ScriptedOps(answer));
    const { space } = machine;
    assert.equal(space.fault(ADDR, Access.READ, flags), -Errno.EFAULT);
    assert.equal(space.lockHeld, false);
    assert.equal(space.table.bitsAt(ADDR / PAGE_BYTES), 0);
    const error = space.handlerError;
    assert.ok(error instanceof BlockError);
    assert.equal(error.code, 'ERR_BIOVEC_FAULT_HANDLER');
    assert.match(error.reason, says);
    assert.match(error.reason, /'scripted device'.*'program'/);
    assert.equal(machine.memory.counters.handlerErrors, 1);
    // The control plane throws it, once.
    if (flags === FaultFlag.ALLOW_RETRY) {
      await assert.rejects(space.faultIn(ADDR, 1, Access.READ), {
        code: 'ERR_BIOVEC_FAULT_HANDLER',
      });
    } else {
      assert.throws(() => space.throwHandlerError(), { code: 'ERR_BIOVEC_FAULT_HANDLER' });
    }
    assert.equal(space.handlerError, null);
  });
}

test('a free page as an answer is refused: its counts are nobody’s to change', () => {
  using machine = new ScriptedMachine();
  const freed = machine.memory.allocPage({ zeroed: false, movable: true });
  machine.memory.putPage(freed);
  machine.map(
    new ScriptedOps((_space, request) => {
      request.page = freed;
      return FaultResult.DONE;
    }),
  );
  assert.equal(machine.space.fault(ADDR, Access.READ, 0), -Errno.EFAULT);
  assert.match(machine.space.handlerError?.reason ?? '', /nobody holds/);
});

test('a retry is never 0 to the caller: faultIn goes on, copies stop', async () => {
  using machine = new ScriptedMachine();
  const ops: ScriptedOps = new ScriptedOps(
    retry(() => ops),
    retry(() => ops),
    machine.done,
  );
  machine.map(ops);
  const { space } = machine;
  assert.equal(space.read(ADDR, new Uint8Array(10)), 0);
  assert.equal(space.copyError, -Errno.EAGAIN);
  assert.equal(space.pageAt(ADDR, Access.READ), -Errno.EAGAIN);
  ops.seen.length = 1;
  const left = space.faultIn(ADDR, PAGE_BYTES + 100, Access.READ);
  setImmediate(() => {
    for (const wake of ops.waiting.splice(0)) wake();
  });
  assert.equal(await left, 0);
  assert.equal(await space.faultIn(ADDR + PAGE_BYTES, 3 * PAGE_BYTES, Access.READ), 2 * PAGE_BYTES);
});

test('no area, no right, no memory behind it: -EFAULT', () => {
  using machine = new ScriptedMachine();
  machine.map(new ScriptedOps(machine.done));
  const { space } = machine;
  assert.equal(space.fault(ADDR - 1, Access.READ, 0), -Errno.EFAULT);
  assert.equal(space.fault(ADDR + 2 * PAGE_BYTES, Access.READ, 0), -Errno.EFAULT);
  assert.equal(space.mprotect(ADDR, PAGE_BYTES, Protection.READ), 0);
  assert.equal(space.fault(ADDR, Access.WRITE, 0), -Errno.EFAULT);
  assert.equal(space.mprotect(ADDR, PAGE_BYTES, Protection.NONE), 0);
  assert.equal(space.fault(ADDR, Access.READ, 0), -Errno.EFAULT);
  assert.equal(space.pageAt(2 ** 60, Access.READ), -Errno.EFAULT);
  assert.equal(space.pageAt(-5, Access.READ), -Errno.EFAULT);
});

test('a broken page: -EFAULT, present or about to be mapped', () => {
  using machine = new ScriptedMachine();
  machine.map(new ScriptedOps(machine.done));
  const { space, memory } = machine;
  assert.equal(space.fault(ADDR, Access.READ, 0), 0);
  memory.poison(machine.page);
  memory.poison(machine.page);
  assert.equal(space.fault(ADDR, Access.READ, 0), -Errno.EFAULT);
  assert.equal(space.pageAt(ADDR, Access.READ), -Errno.EFAULT);
  assert.equal(space.fault(ADDR + PAGE_BYTES, Access.WRITE, 0), -Errno.EFAULT);
  assert.equal(space.handlerError, null);
  memory.unpoison(machine.page);
  assert.equal(space.fault(ADDR + PAGE_BYTES, Access.WRITE, 0), 0);
});

test('registers: copies by the CPU work, nothing is counted', () => {
  using machine = new ScriptedMachine();
  const ops = new ScriptedOps((_space, request) => {
    request.page = machine.page;
    return FaultResult.DONE;
  });
  const map = { addr: ADDR, bytes: PAGE_BYTES, protection: READ_WRITE, shared: true };
  machine.space.mmap({ ...map, ops, io: true });
  assert.equal(machine.space.write(ADDR + 4, new Uint8Array([1, 2, 3])), 3);
  const out = new Uint8Array(3);
  assert.equal(machine.space.read(ADDR + 4, out), 3);
  assert.deepEqual([...out], [1, 2, 3]);
  assert.equal(refCount(machine.page), 1);
  assert.equal(machine.memory.rmap.used, 0);
  assert.equal(machine.space.table.bitsAt(ADDR / PAGE_BYTES) & Pte.SPECIAL, Pte.SPECIAL);
});
