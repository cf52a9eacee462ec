import { AssertionError } from '../../../base/assert.ts';
import { Errno } from '../../../base/errno.ts';
import { PAGE_BYTES, SECTOR_BYTES } from '../../../base/units.ts';
import type { Bio } from '../../../bio/bio.ts';
import { addSegment, releasePages } from '../../../bio/bio-add.ts';
import { BioOp } from '../../../bio/bio-op.ts';
import { HoldKind } from '../../../memory/holds.ts';
import { PinFlag, tryPinUserPages } from '../../../memory/user/pin-user-pages.ts';
import type { ModelObject } from './model-object.ts';
import type { PathAction } from './path-action.ts';
import { OpKind, PathOp, type Span, touches } from './path-op.ts';
import type { PathProcess, PathWorld } from './path-world.ts';

const PAGES_MAX = 6;

/** A bio in flight, with what each of its pages is held by. */
interface Mixed {
  readonly op: PathOp;
  readonly pages: number[];
  readonly kinds: HoldKind[];
  readonly settle: (op: PathOp, moved: number, error: number) => void;
}

/**
 * Bios that a driver fills itself: whole pages of a process, some pinned, some referenced, in one
 * list, written to a raw range. Each is let go in the way in which it was taken.
 */
export class MixedBios {
  readonly #world: PathWorld;
  readonly #one = new Uint32Array(1);

  constructor(world: PathWorld) {
    this.#world = world;
  }

  start(
    made: PathProcess,
    action: PathAction,
    settle: (op: PathOp, moved: number, error: number) => void,
  ): void {
    const { pathFiles, model, clock, random } = this.#world;
    const file = pathFiles[action.file];
    if (file === undefined || file.file !== null) return;
    const count = Math.min(Math.ceil(action.bytes / PAGE_BYTES), PAGES_MAX);
    const places = file.object.bytes.length / PAGE_BYTES - count;
    const first = Math.floor(action.at / PAGE_BYTES) % places;
    const at = this.#freePlace(file.object, first, places, count * PAGE_BYTES);
    if (at < 0) return;
    const { device } = file.disk;
    const bio = device.bios.acquire(BioOp.WRITE, (file.base + at) / SECTOR_BYTES, count);
    if (bio === null) return;
    const addr = Math.floor(action.addr / PAGE_BYTES) * PAGE_BYTES;
    const pages: number[] = [];
    const kinds: HoldKind[] = [];
    for (let i = 0; i < count; i++) {
      const kind = random.pick([HoldKind.PINNED, HoldKind.PINNED, HoldKind.REFERENCED]);
      if (!this.#add(made, bio, addr + i * PAGE_BYTES, kind)) break;
      pages.push(this.#one[0]);
      kinds.push(kind);
    }
    if (pages.length === 0) {
      device.bios.release(bio);
      return;
    }
    const bytes = pages.length * PAGE_BYTES;
    const startNs = clock.nowNs;
    const options = { kind: OpKind.WRITE, process: made.model, action, bytes, isDirect: true };
    const op = new PathOp({ ...options, addr: [addr], lens: [bytes], startNs });
    const sources: Span[] = [];
    made.model.spans(addr, bytes, 0, sources);
    op.sources = sources;
    op.targets = [{ object: file.object, at, bytes, from: 0 }];
    model.begin(op);
    const mixed: Mixed = { op, pages, kinds, settle };
    bio.owner = mixed;
    bio.endIo = this.#ended;
    device.submitBio(bio);
  }

  /**
   * From page `first` on. A bio of one's own is not kept apart from a write that changes a part of
   * a block, so it goes where nothing in flight writes to. -1: there is no such place.
   */
  #freePlace(object: ModelObject, first: number, places: number, bytes: number): number {
    const { inFlight } = this.#world.model;
    for (let i = 0; i < places; i++) {
      const at = ((first + i) % places) * PAGE_BYTES;
      if (!inFlight.some((op) => touches(op.targets, object, at, bytes))) return at;
    }
    return -1;
  }

  #add(made: PathProcess, bio: Bio, addr: number, kind: HoldKind): boolean {
    const flags = kind === HoldKind.PINNED ? 0 : PinFlag.GET;
    const got = tryPinUserPages(made.process.space, addr, 1, flags | PinFlag.NOWAIT, this.#one, 0);
    if (got <= 0) return false;
    if (addSegment(bio, this.#one[0], 0, PAGE_BYTES, kind) === PAGE_BYTES) return true;
    throw new AssertionError('sim: a bio has no room for a page that it was made for');
  }

  readonly #ended = (bio: Bio): void => {
    const { op, pages, kinds, settle } = bio.owner as Mixed;
    const { status } = bio;
    const { world } = this;
    const device = world.disks.find((disk) => disk.device.bios === bio.pool)?.device;
    if (device === undefined) throw new AssertionError('sim: a bio of no disk ended');
    op.ends++;
    if (op.ends > 1) throw new AssertionError(`sim: ended twice: ${op.text}`);
    world.provenance?.released(pages, kinds);
    releasePages(bio, false);
    device.bios.release(bio);
    world.counts.add('end: mixed bio');
    // A reference lets the page part from its process: what was written is some moment of it.
    settle(op, status === 0 ? op.bytes : 0, status);
    if (status !== 0 && !world.hasErrors && status !== -Errno.EINVAL) {
      throw new AssertionError(`sim: ended with ${status}: ${op.text}`);
    }
  };

  get world(): PathWorld {
    return this.#world;
  }
}
