import { join } from 'node:path';
import { runTextCases } from '../../src/testing/text-cases.ts';
import {
  dmaIterCase,
  dmaMapCase,
  requestSgCase,
  sgCopyCase,
  sgPagesCase,
  sgTableCase,
  swiotlbCase,
} from './dma-cases.ts';

runTextCases(join(import.meta.dirname, 'cases.txt'), {
  'sg-table': sgTableCase,
  'sg-pages': sgPagesCase,
  'sg-copy': sgCopyCase,
  'request-sg': requestSgCase,
  'dma-map': dmaMapCase,
  'dma-iter': dmaIterCase,
  swiotlb: swiotlbCase,
});
