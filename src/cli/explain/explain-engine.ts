import { MIB, PAGE_BYTES, SECTOR_BYTES } from '../../base/units.ts';
import { DmaDevice, type DmaDeviceOptions } from '../../dma/dma-device.ts';
import { Iommu } from '../../dma/iommu.ts';
import { NvmePsdt } from '../../dma/nvme-pointer.ts';
import { SWIOTLB_BYTES_MAX, Swiotlb } from '../../dma/swiotlb.ts';
import type { Engine } from '../../engine/contract.ts';
import { ControllerEngine } from '../../engine/controller/controller-engine.ts';
import { openNullEngine } from '../../engine/memory/null-engine.ts';
import { openRamEngine } from '../../engine/memory/ram-engine.ts';
import type { IntegrityProfile } from '../../integrity/integrity-profile.ts';
import type { Limits } from '../../limits/limits.ts';
import { fromEffective } from '../../limits/validate.ts';
import { Arena } from '../../memory/arena.ts';
import { UsageError } from '../exit-code.ts';

// The device that a transfer is explained with: memory, or a simulated controller before it.

const POINTER_KINDS = ['prp', 'sgl'] as const;
const DMA_KINDS = ['direct', 'iommu', 'untrusted', 'bounce'] as const;

/** How a simulated controller reaches memory. */
export interface ControllerChoice {
  readonly pointer: (typeof POINTER_KINDS)[number];
  readonly dma: (typeof DMA_KINDS)[number];
}

/** More than `explain` ever has in one request; limits above it need tables of that size. */
const REQUEST_BYTES_MAX = 64 * MIB;
const BOUNCE_BYTES = 4 * MIB;
/** Where the IOVA space starts: so high that nobody takes its addresses for those of memory. */
const IOVA_START = 0x8000_0000;
const DEPTH = 4;

/** What a controller can take: the limits, without numbers that only a larger machine needs. */
export function controllerLimits(limits: Limits, choice: ControllerChoice): Limits {
  if (choice.pointer === 'prp' && limits.virt_boundary_mask !== PAGE_BYTES - 1) {
    throw new UsageError(
      '--controller prp: PRPs name whole pages of 4096 bytes, so these limits need ' +
        `virt_boundary_mask ${PAGE_BYTES - 1}; it is ${limits.virt_boundary_mask}`,
    );
  }
  // A bounce buffer keeps the place in the page, for which it gives a page away.
  const isBounced = choice.dma === 'bounce';
  const segment = isBounced ? SWIOTLB_BYTES_MAX - PAGE_BYTES : 2 ** 32 - 1;
  // A request that is larger than all bounce memory could never go.
  const sectors = (isBounced ? BOUNCE_BYTES / 2 : REQUEST_BYTES_MAX) / SECTOR_BYTES;
  return fromEffective({
    ...limits,
    max_hw_sectors: Math.min(limits.max_hw_sectors, sectors),
    max_sectors: Math.min(limits.max_sectors, sectors),
    max_segments: Math.min(limits.max_segments, REQUEST_BYTES_MAX / PAGE_BYTES),
    max_segment_size: Math.min(limits.max_segment_size, segment),
  });
}

export interface ExplainEngine extends Disposable {
  readonly engine: Engine;
  /** null: no controller. */
  readonly controller: ControllerEngine | null;
}

const defer = (run: () => void): void => queueMicrotask(run);

/** `isKept`: the bytes are, so that they can be compared; tuples always are. */
export function memoryEngine(
  sizeBytes: number,
  limits: Limits,
  isKept: boolean,
  integrity: IntegrityProfile | null,
): ExplainEngine {
  const about = { sizeBytes, limits, defer, target: 'the device' };
  const engine: Engine =
    isKept || integrity !== null
      ? openRamEngine({ ...about, integrity: integrity ?? undefined })
      : openNullEngine(about);
  return { engine, controller: null, [Symbol.dispose]: () => {} };
}

/**
 * A controller with memory of its own for lists and bounce buffers. Make it before the memory of
 * the program: what comes first lies lower, and a device of 32 address bits reaches it alone.
 */
export function controllerEngine(
  sizeBytes: number,
  limits: Limits,
  choice: ControllerChoice,
): ExplainEngine {
  const low = new Arena({ label: 'low', maxBytes: 32 * MIB });
  const isBounced = choice.dma === 'bounce' || choice.dma === 'untrusted';
  const swiotlb = isBounced ? new Swiotlb(low, BOUNCE_BYTES) : null;
  const { max_segment_size: segBytesMax, seg_boundary_mask: segBoundaryMask } = limits;
  const options: DmaDeviceOptions = { segBytesMax, segBoundaryMask, swiotlb };
  const device = new DmaDevice(deviceOptions(choice, options, low));
  const psdt = choice.pointer === 'prp' ? NvmePsdt.PRP : NvmePsdt.SGL;
  const parts = { sizeBytes, device, arena: low, limits, psdt, depth: DEPTH, defer };
  const controller = new ControllerEngine(parts);
  const dispose = (): void => {
    swiotlb?.[Symbol.dispose]();
    low[Symbol.dispose]();
  };
  return { engine: controller, controller, [Symbol.dispose]: dispose };
}

function deviceOptions(
  { dma }: ControllerChoice,
  options: DmaDeviceOptions,
  low: Arena,
): DmaDeviceOptions {
  switch (dma) {
    case 'direct':
      return options;
    case 'bounce': {
      const end = low.region.firstPage * PAGE_BYTES + low.maxBytes;
      const dmaMask = 2 ** Math.max(Math.ceil(Math.log2(end)), 32) - 1;
      return { ...options, dmaMask, minAlignMask: PAGE_BYTES - 1 };
    }
    case 'iommu':
    case 'untrusted': {
      const iommu = new Iommu({ baseAddress: IOVA_START, spaceBytes: 256 * MIB });
      return { ...options, iommu, isUntrusted: dma === 'untrusted' };
    }
  }
}
