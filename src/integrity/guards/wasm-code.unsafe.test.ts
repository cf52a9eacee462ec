import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  get,
  i32,
  load,
  loopWhile,
  op,
  returnValue,
  seq,
  set,
  store,
  ValueType,
  WasmFunction,
  WasmModuleCode,
  when,
} from './wasm-code.ts';

const { I32 } = ValueType;

/** The exports of a module with one function, over one memory of a page. */
function run(fn: WasmFunction, memory: WebAssembly.Memory): (...args: number[]) => number {
  const module = new WasmModuleCode([{ name: 'a', isShared: false, pagesMax: 1 }]);
  module.add(fn);
  const compiled = new WebAssembly.Module(module.bytes());
  const { exports } = new WebAssembly.Instance(compiled, { m: { a: memory } });
  return (exports as Record<string, (...args: number[]) => number>)[fn.name] as never;
}

const page = (): WebAssembly.Memory => new WebAssembly.Memory({ initial: 1, maximum: 1 });

test('constants of every length come out as they went in', () => {
  const values = [
    0,
    1,
    -1,
    63,
    64,
    -64,
    -65,
    127,
    128,
    8191,
    8192,
    2 ** 20,
    2 ** 31 - 1,
    -(2 ** 31),
  ];
  for (const value of values) {
    const fn = new WasmFunction('f', [], I32);
    fn.body = i32(value);
    assert.equal(run(fn, page())(), value);
  }
});

test('loops, locals, memory with large offsets', () => {
  const memory = page();
  const u8 = new Uint8Array(memory.buffer);
  for (let i = 0; i < 256; i++) u8[40000 + i] = i;
  const fn = new WasmFunction('sum', [I32], I32);
  const [left, total] = [fn.param(0), fn.local(I32)];
  fn.body = seq(
    loopWhile(
      get(left),
      set(left, op('i32.sub', get(left), i32(1))),
      set(total, op('i32.add', get(total), load('i32.load8_u', 0, get(left), 40000))),
    ),
    store('i32.store16', 0, i32(2), get(total), 300),
    when(op('i32.eqz', get(total)), returnValue(i32(-7))),
    get(total),
  );
  const sum = run(fn, memory);
  assert.equal(sum(256), 32640);
  assert.equal(new DataView(memory.buffer).getUint16(302, true), 32640);
  assert.equal(sum(0), -7, 'a loop whose condition fails at once is not entered');
});
