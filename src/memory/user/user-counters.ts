/** What happened in one machine's memory so far: plain numbers, in pages unless said otherwise. */
export class UserMemoryCounters {
  /** Faults by what they found: nothing (anonymous, or of a file), a swap slot, a hint. */
  anonymousFaults = 0;
  fileFaults = 0;
  swapFaults = 0;
  hintFaults = 0;
  /** Writes to a present page that was not writable. */
  writeFaults = 0;
  /** Reads of untouched memory that got the zero page. */
  zeroPageFaults = 0;
  /** Faults that got a folio of more than one page; and those that fell back to one page. */
  hugeFaults = 0;
  hugeFallbacks = 0;
  /** Handlers that answered RETRY or -EAGAIN; that broke the contract. */
  retries = 0;
  handlerErrors = 0;
  /** Pages copied because a write (COW), a read-only pin (unshare) or a fork asked for it. */
  cowCopies = 0;
  cowReuses = 0;
  unshares = 0;
  forkCopies = 0;
  forks = 0;
  /** Folios looked at by reclaim of anonymous and shared memory. */
  reclaimFreed = 0;
  reclaimKept = 0;
  reclaimSkippedPinned = 0;
  /** Pages that shrinkers gave back. */
  shrunk = 0;
  swappedOut = 0;
  swappedIn = 0;
  /** Folios. */
  migrated = 0;
  migrationsRefused = 0;
  hintsRefusedPinned = 0;
  mergesRefused = 0;
  merged = 0;
  /** Allocations that found no page even after reclaim. */
  allocFailures = 0;
}
