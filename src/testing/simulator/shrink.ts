/** Whether a history still fails in the same way. */
export type StillFails<T> = (items: readonly T[]) => Promise<boolean>;

/**
 * Delta debugging: deletes what the failure does not need. `items` fail; so does the answer, and
 * unless `triesMax` ended the search no single item can be left out of it.
 */
export async function shrink<T>(
  items: readonly T[],
  fails: StillFails<T>,
  triesMax: number,
): Promise<readonly T[]> {
  let kept = items;
  let tries = 0;
  for (let size = Math.ceil(kept.length / 2); size >= 1; ) {
    let isSmaller = false;
    // From the end: what happened last is mostly what failed, and the rest goes in large pieces.
    for (let end = kept.length; end > 0 && tries < triesMax; end -= size) {
      const rest = [...kept.slice(0, Math.max(end - size, 0)), ...kept.slice(end)];
      tries++;
      if (!(await fails(rest))) continue;
      kept = rest;
      isSmaller = true;
    }
    if (tries >= triesMax || (size === 1 && !isSmaller)) break;
    if (!isSmaller || size > kept.length) size = Math.max(1, Math.floor(size / 2));
  }
  return kept;
}

/** Numbers differ from run to run of a smaller history; the sentence around them does not. */
export function failureClass(error: Error): string {
  return error.message.replace(/0x[\da-f]+|\d+/gi, 'N');
}
