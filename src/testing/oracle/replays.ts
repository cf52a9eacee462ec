import type { Profile } from '../../limits/profile.ts';
import { CrcReplay } from './crc-replay.ts';
import { LaterReads } from './later-reads.ts';
import { isPassthrough, PassthroughReplayer, passthroughCases } from './passthrough-replay.ts';
import { RecordedStore } from './recorded-store.ts';
import { Replayer } from './replay.ts';
import type { RecordFile } from './schema.ts';

/** What replays the cases of one file, made when it is first wanted. */
export class Replays {
  readonly file: RecordFile;
  readonly profile: Profile;
  /** What the writes so far have left on the disks. */
  readonly store = new RecordedStore();
  #later: LaterReads | null = null;
  #transfers: Replayer | null = null;
  #passthrough: PassthroughReplayer | null = null;
  #checksums: CrcReplay | null = null;

  constructor(file: RecordFile, profile: Profile) {
    this.file = file;
    this.profile = profile;
  }

  get later(): LaterReads {
    this.#later ??= new LaterReads(this.file.cases);
    return this.#later;
  }

  get transfers(): Replayer {
    this.#transfers ??= new Replayer(this.file, this.store);
    return this.#transfers;
  }

  get passthrough(): PassthroughReplayer {
    const cases = this.file.cases.filter(isPassthrough);
    this.#passthrough ??= new PassthroughReplayer(passthroughCases(cases));
    return this.#passthrough;
  }

  get checksums(): CrcReplay {
    this.#checksums ??= new CrcReplay();
    return this.#checksums;
  }

  /** A failed assertion leaves bios and pins behind: what comes next starts afresh. */
  abandon(): void {
    this.#later = null;
    this.#transfers = null;
    this.#passthrough = null;
    this.#checksums = null;
  }

  [Symbol.dispose](): void {
    this.#later?.[Symbol.dispose]();
    this.#transfers?.[Symbol.dispose]();
    this.#passthrough?.[Symbol.dispose]();
    this.#checksums?.[Symbol.dispose]();
    this.abandon();
  }
}
