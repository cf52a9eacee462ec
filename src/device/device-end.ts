import { BioOp } from '../bio/bio-op.ts';
import type { BlockDevice } from './block-device.ts';
import type { Transfer } from './transfer.ts';

/**
 * Bytes of the block that a device of fixed size ends in, when its size is no multiple of the
 * block; else 0. No request can write them: it would end inside a block. A file may end anywhere.
 */
export function cutBlockBytes({ engine, limits, context }: BlockDevice): number {
  if (context.blockBytes === 1 || !engine.info.fixedSize) return 0;
  return engine.sizeBytes() % limits.logical_block_size;
}

/**
 * True when `transfer` would change bytes of that block. Linux refuses it too (blkdev_dio_invalid()
 * after the cut at the end, block/fops.c), and partitions that end so (block/ioctl.c).
 */
export function writesCutBlock(transfer: Transfer): boolean {
  const { device, op, position, bytes } = transfer;
  if (op === BioOp.READ || op === BioOp.FLUSH) return false;
  const cut = cutBlockBytes(device);
  if (cut === 0) return false;
  const size = device.engine.sizeBytes();
  return position < size && position + bytes > size - cut;
}
