/** What was done with the metadata of a queue's bios; bytes of metadata. */
export class IntegrityCounters {
  bytesGenerated = 0;
  bytesVerified = 0;
  /** Blocks that did not match, one for each bio at most. */
  faults = 0;
  /** Times that a bio waited for a payload or its memory. */
  payloadWaits = 0;
}
