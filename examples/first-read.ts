// The smallest use: open a target, read from it. Run: node examples/first-read.ts [TARGET]
// In a project of your own, import from 'biovec'.

import { fileURLToPath } from 'node:url';
import { Arena, open } from '../src/index.ts';

const target = process.argv[2] ?? fileURLToPath(import.meta.url);
const arena = new Arena({ maxBytes: 1024 * 1024 });

await using disk = await open(target, { readOnly: true });
using buffer = arena.alloc(4096); // Aligned, cannot be detached: the device gets these very pages.
const { bytesRead } = await disk.read(buffer.bytes, { position: 0 });
const { bytesMapped, bytesCopied } = disk.stats();
console.log(`${bytesRead} bytes of ${disk.size}: ${bytesMapped} mapped, ${bytesCopied} copied`);

const plain = new Uint8Array(4096); // Any array works too; it costs one copy.
await disk.read(plain, { position: 0 });
console.log('copied because of', disk.stats().copiedByReason);
