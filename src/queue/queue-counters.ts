/** What the queue did since it was made. Plain numbers: incremented in the data plane. */
export class QueueCounters {
  bios = 0;
  splits = 0;
  merges = 0;
  requests = 0;
  /** Short transfers whose rest went again. */
  requeues = 0;
  /** Back-pressure: how often there was no tag, no bio for a front, no room at the engine. */
  tagWaits = 0;
  splitWaits = 0;
  engineWaits = 0;
}
