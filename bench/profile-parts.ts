import { Session } from 'node:inspector/promises';
import { LAYERS } from '../src/layers.ts';

/** So often the profiler looks, in microseconds. */
const INTERVAL_MICROS = 200;

interface ProfileNode {
  readonly id: number;
  readonly callFrame: { readonly functionName: string; readonly url: string };
}

export interface Profile {
  readonly nodes: readonly ProfileNode[];
  readonly samples?: readonly number[] | undefined;
  /** Microseconds between a sample and the one before it. */
  readonly timeDeltas?: readonly number[] | undefined;
}

/** What `run` spends its time on, in microseconds by part, the largest first. */
export async function profileParts(run: () => Promise<void>): Promise<Map<string, number>> {
  const session = new Session();
  session.connect();
  try {
    await session.post('Profiler.enable');
    await session.post('Profiler.setSamplingInterval', { interval: INTERVAL_MICROS });
    await session.post('Profiler.start');
    await run();
    const { profile } = await session.post('Profiler.stop');
    return partsOf(profile);
  } finally {
    session.disconnect();
  }
}

/** Self time by part: a folder of `src/`, what is no JavaScript, and what Node and V8 take. */
export function partsOf({ nodes, samples = [], timeDeltas = [] }: Profile): Map<string, number> {
  const partOfNode = new Map(nodes.map((node) => [node.id, partOf(node.callFrame)]));
  const parts = new Map<string, number>();
  for (const [i, id] of samples.entries()) {
    const part = partOfNode.get(id) ?? 'else';
    parts.set(part, (parts.get(part) ?? 0) + (timeDeltas[i] ?? 0));
  }
  return new Map([...parts].sort(([, a], [, b]) => b - a));
}

function partOf({ functionName, url }: ProfileNode['callFrame']): string {
  switch (functionName) {
    case '(garbage collector)':
      return 'collector';
    case '(idle)':
      return 'asleep';
  }
  // Code that the profiler does not see into has no file, and the name of whatever symbol is near:
  // the kernel below a call of the door, above all.
  if (url === '') return 'kernel, C';
  const folder = /\/src\/([a-z]+)\//.exec(url)?.[1];
  if (folder !== undefined && LAYERS.some((layer) => layer === folder)) return `${folder}/`;
  return url.includes('/bench/') ? 'the program' : 'Node';
}
