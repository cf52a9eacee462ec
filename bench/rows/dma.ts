// A request to what a device sees of it, and back: scatterlist, DMA mapping, unmapping; directly,
// behind an IOMMU, through bounce memory, and without a scatterlist. Each case in a process of its
// own, with what it leaves on the heap.

import { DMA_CASES, measureDma, SEGMENT_COUNTS } from '../../src/dma/dma.bench.ts';
import { IS_QUICK, printRow, type Row } from '../row.ts';
import { summarize } from '../stats.ts';

/** Millions of requests a second with one segment, and of segments with more. */
const REQUESTS_TARGET = 1;
const SEGMENTS_TARGET = 10;
const ROUNDS = IS_QUICK ? 8 : 31;

for (const name of DMA_CASES) {
  for (const segments of SEGMENT_COUNTS) {
    const { rounds, bytesPerRequest } = measureDma(name, segments, ROUNDS);
    // The first rounds train the compiler.
    const ours = summarize(rounds.slice(5).map((ns) => (segments * 1000) / ns));
    const row: Row = {
      name: `dma-${name.replaceAll(', ', '-')}-${segments}`,
      unit: segments === 1 ? 'M requests/s' : 'M segments/s',
      ours,
      notes: { 'heap bytes a request': Math.round(bytesPerRequest * 10) / 10 },
    };
    const target = segments === 1 ? REQUESTS_TARGET : SEGMENTS_TARGET;
    // A bounce copies each page twice: that is the speed of memory and no target.
    printRow(name.startsWith('bounced') ? row : { ...row, target });
  }
}
