// Writes with protection information, damages a block behind the library's back, reads the error.
// Run: node examples/damaged-block.ts
// In a project of your own, import from 'biovec' and 'biovec/integrity'.

import { RamEngine } from '../src/engine.ts';
import { BlockError, open } from '../src/index.ts';
import { PiInjector } from '../src/integrity.ts';

// A RAM disk that keeps a tuple of 16 bytes (guard, app tag, ref tag) beside each 512 of data.
await using disk = await open('ram:1M,pi=crc64');
await disk.write(new Uint8Array(64 * 1024).fill(7), { position: 0 });
await disk.read(new Uint8Array(64 * 1024), { position: 0 });
const { metadata } = disk.stats();
console.log(`tuples: ${metadata.bytesGenerated} bytes made, ${metadata.bytesVerified} checked`);

// A disk rots without telling anybody: one bit of block 100, on the medium itself.
const { engine } = disk.device;
if (!(engine instanceof RamEngine)) throw new Error('a RAM disk has an engine of another kind');
const { data, records } = engine.medium();
const profile = engine.info.integrity;
if (profile === null || records === null) throw new Error('the disk keeps no tuples');
const damage = new PiInjector(profile, data, records);
damage.flip(100, 'data', 5);

const buffer = new Uint8Array(64 * 1024);
try {
  await disk.read(buffer, { position: 0 });
  console.log('nobody noticed');
} catch (error) {
  if (!(error instanceof BlockError)) throw error;
  console.log(error.code, error.reason);
}
console.log(`bytes that reached the program: ${buffer.filter((byte) => byte !== 0).length}`);

// Block 3 arrives at block 4, tuple and all: the guard fits, the ref tag does not.
damage.misdirect(3, 4);
await disk.read(new Uint8Array(512), { position: 4 * 512 }).catch((error: BlockError) => {
  console.log(error.code, error.reason);
});

// Whatever covers the whole block makes it good again.
await disk.write(new Uint8Array(512), { position: 100 * 512 });
await disk.write(new Uint8Array(512), { position: 4 * 512 });
await disk.read(buffer, { position: 0 });
console.log('read again: good');

// Metadata of your own: 6 of the 16 bytes are the ref tag, 2 the app tag.
const own = new Uint8Array(128 * 16);
await disk.read(buffer, { position: 0, metadata: own, check: { guard: true, ref: true } });
console.log(`record of block 1: ${Buffer.from(own.subarray(16, 32)).toString('hex')}`);
