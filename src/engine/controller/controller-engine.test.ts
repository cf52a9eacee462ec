import { MIB } from '../../base/units.ts';
import { DmaDevice } from '../../dma/dma-device.ts';
import { Iommu } from '../../dma/iommu.ts';
import { NvmePsdt } from '../../dma/nvme-pointer.ts';
import { Swiotlb } from '../../dma/swiotlb.ts';
import { Arena } from '../../memory/arena.ts';
import { engineSuite } from '../../testing/engine-suite.ts';
import { ControllerEngine } from './controller-engine.ts';

const SIZE = 2 ** 21;
const defer = (callback: () => void): void => void setImmediate(callback);
/** Memory that a device of 32 address bits reaches: made first, so it lies lowest. */
const low = new Arena({ maxBytes: 16 * MIB, label: 'low', places: false });

const swiotlb = new Swiotlb(low, MIB);

const DEVICES: Readonly<Record<string, () => DmaDevice>> = {
  direct: () => new DmaDevice(),
  'behind an IOMMU': () => new DmaDevice({ iommu: new Iommu({ spaceBytes: 16 * MIB }) }),
  'behind an IOMMU of 64 KiB granules': () =>
    new DmaDevice({ iommu: new Iommu({ spaceBytes: 64 * MIB, granuleBytes: 65536 }) }),
  'untrusted behind an IOMMU': () =>
    new DmaDevice({
      iommu: new Iommu({ spaceBytes: 16 * MIB }),
      swiotlb,
      isUntrusted: true,
    }),
};

for (const [name, device] of Object.entries(DEVICES)) {
  for (const psdt of [NvmePsdt.PRP, NvmePsdt.SGL]) {
    const how = psdt === NvmePsdt.PRP ? 'PRP' : 'SGL';
    const open = async () => {
      const options = { sizeBytes: SIZE, device: device(), arena: low, psdt, defer };
      return { engine: new ControllerEngine({ ...options, depth: 8 }) };
    };
    engineSuite(`controller ${name}, ${how}`, open, { discardsToZero: true });
  }
}
