import type { BlockDevice } from '../device/block-device.ts';
import type { BlockAllocator } from './block-allocator.ts';
import type { CacheMemory } from './cache-memory.ts';

export interface ExtentFileOptions {
  readonly device: BlockDevice;
  readonly memory: CacheMemory;
  /** Shared by all files of the device. Default: one of its own over the whole device. */
  readonly blocks?: BlockAllocator | undefined;
  /** Named in errors and holds. Default 'file'. */
  readonly name?: string | undefined;
  /** A file that lies on the device already, in one piece from block `block` on. */
  readonly existing?: { readonly block: number; readonly bytes: number } | undefined;
  /** Runs a function later, from the loop. Default: a microtask. */
  readonly defer?: ((run: () => void) => void) | undefined;
  /**
   * Memory that cannot be had in the middle of a direct write: 'unwritten' (the default) leaves
   * the blocks behind it as they were, and gives the count before it; 'zero-fill' writes zeros to
   * the rest of the extent and gives -EFAULT, as Linux's fs/direct-io.c does (reference 9.1).
   */
  readonly directIoFault?: 'unwritten' | 'zero-fill' | undefined;
  /** A page under writeback does not change until it ends. Default true. */
  readonly stablePages?: boolean | undefined;
  /** The device checks what it gets: send copies of pages that another device may write to. */
  readonly stableWrites?: boolean | undefined;
  /** log2 of the largest folio that read-ahead asks for. Default 0: single pages. */
  readonly folioOrder?: number | undefined;
  /** A writer waits for the device beyond so many dirty pages of the file. Default 1024. */
  readonly dirtyPagesMax?: number | undefined;
}

export class ExtentFileCounters {
  pagesRead = 0;
  pagesWritten = 0;
  /** Pages that went to the device as a copy, because a device may write to them. */
  pagesBounced = 0;
  readErrors = 0;
  writeErrors = 0;
  shortTransfers = 0;
  faults = 0;
  /** Direct writes that went through the cache, because a page of it could not be dropped. */
  directThroughCache = 0;
  /** Direct writes after which a cached page of the range could not be dropped. */
  staleAfterDirect = 0;
  /** 'zero-fill' only. */
  blocksZeroFilled = 0;
}
