import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { Errno } from '../../src/base/errno.ts';
import { TAG_NONE } from '../../src/base/slots.ts';
import { MIB, PAGE_BYTES } from '../../src/base/units.ts';
import { BioOp } from '../../src/bio/bio-op.ts';
import { DmaDevice } from '../../src/dma/dma-device.ts';
import { DmaPerm } from '../../src/dma/dma-status.ts';
import { Iommu } from '../../src/dma/iommu.ts';
import { NvmePsdt } from '../../src/dma/nvme-pointer.ts';
import type { CommandSlot } from '../../src/engine/controller/command-slot.ts';
import { ControllerEngine } from '../../src/engine/controller/controller-engine.ts';
import { endIssued, issueChain } from '../../src/engine/controller/issue-chain.ts';
import { Iovec } from '../../src/iter/iovec.ts';
import { LINUX_6_12 } from '../../src/limits/profile.ts';
import type { BioChain } from '../../src/map/passthrough/bio-chain.ts';
import { NvmeCommand } from '../../src/map/passthrough/nvme-command.ts';
import { SgCommand, SgDirection } from '../../src/map/passthrough/sg-command.ts';
import { MapReason, Verdict } from '../../src/map/verdict.ts';
import { Arena } from '../../src/memory/arena.ts';
import { copyIn, copyOut } from '../../src/memory/copy.ts';
import { RequestTable } from '../../src/queue/request-table.ts';
import { chainOf, PassthroughRig, pattern } from './passthrough-rig.ts';

const { READ, WRITE } = BioOp;
/** Of the controller, and so of who maps memory for it. */
const limits = {
  max_hw_sectors: 4096,
  max_segments: 128,
  max_segment_size: 65536,
  virt_boundary_mask: 4095,
};

interface Bench extends AsyncDisposable {
  readonly engine: ControllerEngine;
  readonly table: RequestTable;
}

/** A controller behind an IOMMU that takes what `limits` say. */
function bench(
  iommu = new Iommu({ spaceBytes: 64 * MIB }),
  onCommand: (command: CommandSlot) => void = () => {},
  psdt: NvmePsdt = NvmePsdt.PRP,
): Bench {
  const arena = new Arena({ maxBytes: 4 * MIB, label: 'lists', places: false });
  const device = new DmaDevice({ iommu });
  const engine = new ControllerEngine({
    sizeBytes: 8 * MIB,
    device,
    arena,
    limits,
    depth: 4,
    psdt,
    defer: (run) => void setImmediate(run),
    onCommand,
  });
  const table = new RequestTable(8);
  engine.attach(table);
  const close = async (): Promise<void> => {
    await engine.close();
    arena.assertNothingOutstanding();
    arena[Symbol.dispose]();
  };
  return { engine, table, [Symbol.asyncDispose]: close };
}

/** One command to its end: bytes or -errno. */
function execute({ engine, table }: Bench, chain: BioChain, sector: number): number {
  const tag = issueChain(engine, table, chain, sector);
  assert.notEqual(tag, TAG_NONE);
  const tags = new Uint32Array(4);
  assert.equal(engine.reap(tags, 4), 1);
  assert.equal(tags[0], tag);
  return endIssued(table, chain, tag);
}

describe('passthrough to a controller with real limits', () => {
  test('over 512 KiB of scattered pages, both ways; in Linux EINVAL', async () => {
    await using world = bench();
    for (const profile of [undefined, LINUX_6_12]) {
      using rig = new PassthroughRig(profile === undefined ? { limits } : { limits, profile });
      const pages = 200;
      const bytes = pages * PAGE_BYTES;
      const addr = rig.scattered(2 * pages);
      const data = rig.fill(addr, bytes, 7);
      const command = new SgCommand(rig.context);
      const iovec = new Iovec();
      const at = (start: number) => ({
        space: rig.space,
        iovec,
        imported: iovec.importRange(start, bytes),
        isVector: false,
        bytes,
      });
      const write = { direction: SgDirection.TO_DEVICE, buffer: at(addr), address: addr };
      const started = command.start(write);
      if (profile !== undefined) {
        assert.equal(started, -Errno.EINVAL);
        continue;
      }
      assert.equal(started, 0);
      assert.deepEqual(
        [command.outcome.verdict, command.outcome.reason],
        [Verdict.COPY, MapReason.SEGMENTS],
      );
      assert.equal(execute(world, command.chain, 64), bytes);
      assert.equal(command.finish(bytes), 0);
      const other = addr + pages * PAGE_BYTES;
      const read = { direction: SgDirection.FROM_DEVICE, buffer: at(other), address: other };
      assert.equal(command.start(read), 0);
      assert.equal(execute(world, command.chain, 64), bytes);
      assert.equal(command.finish(bytes), 0);
      assert.deepEqual(Buffer.from(rig.read(other, bytes)), Buffer.from(data));
    }
  });

  test('a short end of the disk: only what was transferred comes back', async () => {
    await using world = bench();
    using rig = new PassthroughRig({ limits });
    const addr = rig.scattered(4);
    const before = rig.fill(addr, 16384, 3);
    const command = new NvmeCommand(rig.context);
    const iovec = new Iovec();
    const imported = iovec.importRange(addr + 2, 16000);
    const data = { space: rig.space, iovec, imported, isVector: false, bytes: 16000 };
    assert.equal(command.start(READ, data, null), 0);
    const last = (8 * MIB - 8192) / 512;
    assert.equal(execute(world, command.chain, last), 8192);
    assert.equal(command.finish({ transferredBytes: 8192 }), 0);
    const expected = Uint8Array.from(before);
    expected.fill(0, 2, 2 + 8192);
    assert.deepEqual(rig.read(addr, 16384), expected);
  });

  test('every byte goes through the IOMMU: one wrong entry, wrong bytes, both ways', async () => {
    const pages = 8;
    const bytes = pages * PAGE_BYTES;
    for (const psdt of [NvmePsdt.PRP, NvmePsdt.SGL]) {
      const iommu = new Iommu({ spaceBytes: 64 * MIB });
      let wrong = -1;
      let spare = 0;
      let undo = (): void => {};
      const corrupt = ({ dma, isWrite }: CommandSlot): void => {
        if (wrong < 0) return;
        const perm = isWrite ? DmaPerm.READ : DmaPerm.WRITE;
        const row = iommu.rowFor((dma.address[0] ?? 0) + wrong * PAGE_BYTES, perm);
        const right = iommu.target[row] ?? 0;
        iommu.target[row] = spare;
        undo = () => {
          iommu.target[row] = right;
        };
      };
      await using world = bench(iommu, corrupt, psdt);
      using rig = new PassthroughRig({ limits });
      const addr = rig.scattered(pages);
      const data = rig.fill(addr, bytes, 1);
      spare = rig.own.getFolio(0);
      const run = (op: BioOp, wrongPage: number): void => {
        wrong = wrongPage;
        undo = () => {};
        const chain = chainOf(op);
        assert.equal(rig.map(chain, rig.iter(op, [[addr, bytes]])), 0);
        assert.equal(execute(world, chain, 0), bytes);
        undo();
        assert.equal(rig.unmap(chain), 0);
      };
      const spareBytes = new Uint8Array(PAGE_BYTES);
      for (let page = 0; page < pages; page++) {
        const [start, end] = [page * PAGE_BYTES, (page + 1) * PAGE_BYTES];
        copyIn(spare, 0, spareBytes.fill(0xaa), 0, PAGE_BYTES);
        rig.space.write(addr, data);
        run(WRITE, page);
        run(READ, -1);
        const written = Uint8Array.from(data).fill(0xaa, start, end);
        assert.deepEqual(Buffer.from(rig.read(addr, bytes)), Buffer.from(written));
        rig.space.write(addr, data);
        run(WRITE, -1);
        const before = pattern(bytes, 9);
        rig.space.write(addr, before);
        run(READ, page);
        const read = Uint8Array.from(data);
        read.set(before.subarray(start, end), start);
        assert.deepEqual(Buffer.from(rig.read(addr, bytes)), Buffer.from(read));
        copyOut(spareBytes, 0, spare, 0, PAGE_BYTES);
        assert.deepEqual(spareBytes, data.slice(start, end), 'they landed where the entry says');
      }
      rig.own.putFolio(spare);
    }
  });
});
