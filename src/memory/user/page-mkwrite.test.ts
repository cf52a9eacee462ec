// `pageMkwrite`: a handler is asked before a clean shared page becomes writable (reference 1.2).

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Errno } from '../../base/errno.ts';
import { PAGE_BYTES } from '../../base/units.ts';
import { Access } from '../address-space.ts';
import { refCount } from '../holds.ts';
import { FaultFlag, FaultResult } from './area.ts';
import { Pte } from './page-table.ts';
import { ADDR, ScriptedMachine, ScriptedOps } from './scripted-ops.fuzz.ts';

test('pageMkwrite: asked before a shared page becomes writable, also if read first', () => {
  for (const readsFirst of [false, true]) {
    using machine = new ScriptedMachine();
    const ops = new ScriptedOps(machine.done);
    const { space } = machine;
    machine.map(ops);
    if (readsFirst) assert.equal(space.fault(ADDR, Access.READ, 0), 0);
    assert.equal(space.table.bitsAt(ADDR / PAGE_BYTES) & Pte.WRITE, 0, 'clean is read-only');
    assert.equal(space.fault(ADDR, Access.WRITE, 0), 0);
    assert.deepEqual(ops.mkwriteSeen, [{ access: Access.WRITE, flags: 0, index: 7 }]);
    const bits = space.table.bitsAt(ADDR / PAGE_BYTES);
    assert.equal(bits & (Pte.WRITE | Pte.DIRTY), Pte.WRITE | Pte.DIRTY);
    assert.equal(ops.seen.length, 1);
    assert.equal(ops.seen[0]?.access, readsFirst ? Access.READ : Access.WRITE);
  }
});

test('pageMkwrite may wait (-EAGAIN) or refuse; the page stays unwritten and unheld', () => {
  for (const readsFirst of [false, true]) {
    using machine = new ScriptedMachine();
    const ops = new ScriptedOps(machine.done);
    const { space } = machine;
    machine.map(ops);
    if (readsFirst) assert.equal(space.fault(ADDR, Access.READ, 0), 0);
    const before = refCount(machine.page);
    ops.mkwrite = (_space, request) => {
      request.wait = ops.wait;
      return -Errno.EAGAIN;
    };
    assert.equal(space.fault(ADDR, Access.WRITE, FaultFlag.ALLOW_RETRY), -Errno.EAGAIN);
    space.whenReady(() => undefined);
    assert.equal(ops.waiting.length, 1);
    ops.mkwrite = () => -Errno.ENOSPC;
    assert.equal(space.fault(ADDR, Access.WRITE, FaultFlag.ALLOW_RETRY), -Errno.ENOSPC);
    assert.equal(space.table.bitsAt(ADDR / PAGE_BYTES) & Pte.WRITE, 0);
    assert.equal(refCount(machine.page), before);
    assert.equal(space.handlerError, null);
  }
});

const MKWRITE_ILLEGAL = [
  { what: 'RETRY', answer: () => FaultResult.RETRY, says: /answered 1 from pageMkwrite/ },
  { what: '512', answer: () => 512, says: /answered 512 from pageMkwrite/ },
  { what: 'a wait for nothing', answer: () => -Errno.EAGAIN, says: /waits in pageMkwrite/ },
];
for (const { what, answer, says } of MKWRITE_ILLEGAL) {
  test(`illegal: ${what} from pageMkwrite is an error and never reaches the caller`, () => {
    for (const readsFirst of [false, true]) {
      using machine = new ScriptedMachine();
      const ops = new ScriptedOps(machine.done);
      machine.map(ops);
      const { space } = machine;
      if (readsFirst) assert.equal(space.fault(ADDR, Access.READ, 0), 0);
      ops.mkwrite = answer;
      assert.equal(space.fault(ADDR, Access.WRITE, FaultFlag.ALLOW_RETRY), -Errno.EFAULT);
      assert.match(space.handlerError?.reason ?? '', says);
      assert.match(space.handlerError?.reason ?? '', /'scripted device'/);
    }
  });
}

test('a write to a private page reads the object only, and never asks to write to it', () => {
  using machine = new ScriptedMachine();
  const ops = new ScriptedOps(machine.done);
  machine.map(ops, false);
  assert.equal(machine.space.fault(ADDR, Access.WRITE, 0), 0);
  assert.equal(ops.seen[0]?.access, Access.READ);
  assert.equal(ops.mkwriteSeen.length, 0);
  assert.notEqual(machine.space.table.frameAt(ADDR / PAGE_BYTES), machine.page);
  assert.equal(refCount(machine.page), 1, 'the copy needs no reference on the page');
});
