import type { Bio } from '../../src/bio/bio.ts';
import type { BioPool } from '../../src/bio/bio-pool.ts';

// What a design touches is counted, not guessed: its typed arrays are replaced by proxies that
// write down each index that is read or written. The same proxies stand in the columns of the page
// frames. A run that counts takes no time: proxies are a hundred times slower.

/** Bytes of a cache line. */
const LINE_BYTES = 64;
/** A property of an object of V8: a pointer, or a double. */
const PROPERTY_BYTES = 8;
/** The column that gets one store for each new entry of a list, and none when an entry grows. */
const ENTRY_COLUMNS = ['offset', 'frames', 'address'];

type Column = Uint8Array | Int32Array | Uint32Array | Float64Array;

export interface TouchedFigures {
  /** Different bytes that are read or written. */
  readonly bytes: number;
  /** Lines of 64 bytes that these lie in. */
  readonly lines: number;
  /** Bytes of all reads and writes. */
  readonly traffic: number;
  /** Entries that are written into lists. */
  readonly entries: number;
}

/** What is touched of one kind of memory: the lists of a design, or the state of page frames. */
export class Touched {
  readonly #columns: TouchedColumn[] = [];

  /** Replaces the typed arrays of `owner`, or those of these names. */
  watch(owner: object, names: readonly string[] = Object.keys(owner)): void {
    const hasOffset = 'offset' in owner && ArrayBuffer.isView(owner.offset);
    for (const name of names) {
      const column: unknown = Reflect.get(owner, name);
      if (!isColumn(column)) continue;
      const isEntry = ENTRY_COLUMNS.includes(name) && (name === 'offset' || !hasOffset);
      const touched = new TouchedColumn(column.BYTES_PER_ELEMENT, isEntry);
      this.#columns.push(touched);
      Reflect.set(owner, name, touched.proxyOf(column));
    }
  }

  /** The fields of bios that are objects. */
  watchBios(pool: BioPool): void {
    const acquire = pool.acquire.bind(pool);
    const known = new WeakSet<Bio>();
    pool.acquire = (...args) => {
      const bio = acquire(...args);
      if (bio === null || known.has(bio)) return bio;
      const fields = new TouchedColumn(PROPERTY_BYTES, false);
      this.#columns.push(fields);
      const proxy = fields.proxyOfFields(bio);
      known.add(proxy);
      return proxy;
    };
  }

  reset(): void {
    for (const column of this.#columns) column.reset();
  }

  figures(): TouchedFigures {
    const sum = (pick: (column: TouchedColumn) => number): number =>
      this.#columns.reduce((total, column) => total + pick(column), 0);
    return {
      bytes: sum((column) => column.bytes),
      lines: sum((column) => column.lines),
      traffic: sum((column) => column.traffic),
      entries: sum((column) => column.entries),
    };
  }
}

function isColumn(value: unknown): value is Column {
  return ArrayBuffer.isView(value) && !(value instanceof DataView);
}

class TouchedColumn {
  readonly #elementBytes: number;
  readonly #isEntry: boolean;
  readonly #seen = new Set<number>();
  readonly #lines = new Set<number>();
  traffic = 0;
  entries = 0;

  constructor(elementBytes: number, isEntry: boolean) {
    this.#elementBytes = elementBytes;
    this.#isEntry = isEntry;
  }

  get bytes(): number {
    return this.#seen.size * this.#elementBytes;
  }

  get lines(): number {
    return this.#lines.size;
  }

  reset(): void {
    this.#seen.clear();
    this.#lines.clear();
    this.traffic = 0;
    this.entries = 0;
  }

  proxyOf(column: Column): Column {
    return new Proxy(column, {
      get: (target, key) => {
        const index = indexOf(key);
        if (index >= 0) {
          this.#touch(index);
          return target[index];
        }
        const value: unknown = Reflect.get(target, key, target);
        return typeof value === 'function' ? value.bind(target) : value;
      },
      set: (target, key, value: number) => {
        const index = indexOf(key);
        if (index < 0) return false;
        this.#touch(index);
        if (this.#isEntry) this.entries++;
        target[index] = value;
        return true;
      },
    });
  }

  proxyOfFields(bio: Bio): Bio {
    const names = Object.keys(bio);
    return new Proxy(bio, {
      get: (target, key, receiver) => {
        const index = names.indexOf(String(key));
        if (index >= 0) this.#touch(index);
        return Reflect.get(target, key, receiver);
      },
      set: (target, key, value) => {
        this.#touch(names.indexOf(String(key)));
        return Reflect.set(target, key, value);
      },
    });
  }

  #touch(index: number): void {
    this.traffic += this.#elementBytes;
    this.#seen.add(index);
    this.#lines.add(Math.floor((index * this.#elementBytes) / LINE_BYTES));
  }
}

/** The index that a key of a proxy is, or -1. */
function indexOf(key: string | symbol): number {
  if (typeof key === 'symbol') return -1;
  const index = Number(key);
  return Number.isInteger(index) && index >= 0 ? index : -1;
}
