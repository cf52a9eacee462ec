// The part of WebAssembly's JavaScript API that the arena uses. TypeScript declares it in its DOM
// library only, which would also let `name`, `length` and `status` pass as globals everywhere.

declare namespace WebAssembly {
  interface MemoryDescriptor {
    /** 64 KiB pages. */
    initial: number;
    maximum?: number;
    shared?: boolean;
  }
  class Memory {
    constructor(descriptor: MemoryDescriptor);
    readonly buffer: ArrayBuffer | SharedArrayBuffer;
    /** Returns the size before, in 64 KiB pages. */
    grow(delta: number): number;
  }
  class Module {
    constructor(bytes: Uint8Array<ArrayBufferLike> | ArrayBufferLike);
  }
  function validate(bytes: Uint8Array<ArrayBufferLike>): boolean;
  type ImportValue = Memory | number | bigint | ((...args: number[]) => number | undefined);
  type Imports = Record<string, Record<string, ImportValue>>;
  class Instance {
    constructor(module: Module, imports?: Imports);
    readonly exports: Record<string, unknown>;
  }
}
