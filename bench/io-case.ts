/** One kind of load on one file. */
export interface IoCase {
  readonly blockBytes: number;
  readonly depth: number;
  readonly direct: boolean;
  readonly write: boolean;
}

/** Who carries it in a Node process. */
export type IoWay = 'biovec' | 'biovec transfer' | 'fs.promises' | 'fs callbacks';

/** What a subject's process is told at its start. */
export interface IoTask extends IoCase {
  readonly path: string;
  readonly way: IoWay;
  /** Of one round. */
  readonly seconds: number;
}
