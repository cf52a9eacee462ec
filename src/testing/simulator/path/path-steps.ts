import { assert } from '../../../base/assert.ts';
import { PAGE_BYTES } from '../../../base/units.ts';
import { FrameFlag, FrameState, frameOf } from '../../../memory/region.unsafe.ts';
import { Protection } from '../../../memory/user/area.ts';
import { Pte } from '../../../memory/user/page-table.ts';
import { CpuSteps } from './cpu-steps.ts';
import { FileSteps } from './file-steps.ts';
import { LongTerm } from './long-term.ts';
import { MixedBios } from './mixed-bios.ts';
import { Certainty, ModelObject } from './model-object.ts';
import type { ModelPage, ModelProcess } from './model-process.ts';
import { PassthroughSteps } from './passthrough-steps.ts';
import { ActionFlag, type PathAction, VERBS, type Verb } from './path-action.ts';
import type { PathProcess, PathWorld } from './path-world.ts';
import { TransferSteps } from './transfer-steps.ts';

/** log2 of the pages of a large folio. */
const LARGE_ORDER = 2;

const STEP_NAMES = Object.fromEntries(VERBS.map((verb) => [verb, `step: ${verb}`])) as Readonly<
  Record<Verb, string>
>;

/** Does steps: to the real thing and to the model. A step that makes no sense now does nothing. */
export class PathSteps {
  readonly #world: PathWorld;
  readonly #cpu: CpuSteps;
  readonly #files: FileSteps;
  readonly #transfers: TransferSteps;
  readonly #longTerm: LongTerm;
  readonly #mixed: MixedBios;
  readonly #passthrough: PassthroughSteps;

  constructor(world: PathWorld) {
    this.#world = world;
    this.#cpu = new CpuSteps(world);
    this.#files = new FileSteps(world);
    this.#transfers = new TransferSteps(world);
    this.#longTerm = new LongTerm(world);
    this.#mixed = new MixedBios(world);
    this.#passthrough = new PassthroughSteps(world, this.#transfers);
  }

  run(action: PathAction): void {
    const world = this.#world;
    world.counts.add(STEP_NAMES[action.verb]);
    // A history has many events of the clock in one line; at random it is one.
    if (action.verb === 'tick') for (let i = Math.max(action.at, 1); i > 0; i--) world.clock.step();
    else if (action.verb === 'reclaim') {
      world.provenance?.decideAll('reclaim');
      world.memory.reclaim(action.bytes);
    } else if (action.verb === 'migrate') this.#migrate(action);
    else if (action.verb === 'spawn') this.#spawn(action);
    else {
      const made = world.processes[action.who] ?? null;
      if (made !== null) this.#runFor(made, action);
    }
  }

  #runFor(made: PathProcess, action: PathAction): void {
    switch (action.verb) {
      case 'fork':
        this.#fork(made, action);
        return;
      case 'exit':
      case 'kill':
        this.#kill(made);
        return;
      case 'map':
        this.#map(made, action);
        return;
      case 'map-file':
        this.#mapFile(made, action);
        return;
      case 'unmap':
        this.#unmap(made, action);
        return;
      case 'protect':
        this.#protect(made, action);
        return;
      case 'move':
        this.#move(made, action);
        return;
      case 'hint':
        made.process.space.hint(action.addr, action.bytes);
        return;
      case 'load':
      case 'store':
        this.#cpu.start(made, action);
        return;
      case 'read':
      case 'write':
      case 'direct-read':
      case 'direct-write':
        this.#transfers.start(made, action);
        return;
      case 'mixed-write':
        this.#mixed.start(made, action, this.#transfers.settled);
        return;
      case 'pass-read':
      case 'pass-write':
        this.#passthrough.start(made, action);
        return;
      case 'fsync':
      case 'msync':
      case 'truncate':
      case 'punch':
      case 'allocate':
        this.#files.start(made, action);
        return;
      case 'register':
        this.#longTerm.register(made, action);
        return;
      case 'unregister':
        this.#longTerm.unregister(action.at);
        return;
      case 'cancel':
        made.process.calls.cancelAt(action.at);
        return;
      default:
        assert(false, 'sim: a step for the world, not for a process');
    }
  }

  /** The page at an address of a process, or the n-th page frame in use. */
  #migrate({ at, who, addr }: PathAction): void {
    const { memory, arena, processes } = this.#world;
    const { region } = arena;
    const table = processes[who]?.process.space.table;
    const vpn = Math.floor(addr / PAGE_BYTES);
    const isHere = addr > 0 && table !== undefined && (table.bitsAt(vpn) & Pte.PRESENT) !== 0;
    const first = isHere ? region.head[frameOf(table.frameAt(vpn))] : at % region.frames;
    for (let i = 0; i < region.frames; i++) {
      const frame = (first + i) % region.frames;
      if (region.head[frame] !== frame || region.state[frame] !== FrameState.USED) continue;
      if (region.firstPage + frame === memory.zeroPage) continue;
      if (memory.columns.mapCount[frame] === 0 && memory.columns.owner[frame] === null) continue;
      this.#world.provenance?.decide('migration', frame);
      memory.migrate(region.firstPage + frame, true);
      return;
    }
  }

  #spawn({ who }: PathAction): void {
    if (who < this.#world.processSlots && !this.#world.isAlive(who)) this.#world.spawn(who);
  }

  /** With `bytes`: and then the parent stores to `addr`. */
  #fork(made: PathProcess, action: PathAction): void {
    const { at: slot } = action;
    const world = this.#world;
    if (slot >= world.processSlots || world.isAlive(slot)) return;
    this.#decideFork(made);
    const process = made.process.tryFork(`p${slot} of ${made.process.label}`);
    if (process === null) return;
    const child = world.spawn(slot, process);
    for (const [vpn, page] of made.model.pages) {
      if (page.isShared || page.isFilePrivate) child.model.setPage(vpn, { ...page });
      else child.model.setPage(vpn, { ...page, object: copyOf(page, child.model, vpn), at: 0 });
    }
    // A device may be writing into the parent's pages: the child has some moment of that.
    for (const op of world.model.inFlight) {
      for (const { object } of op.targets) this.#adoptChild(made.model, child, object);
    }
    if (action.bytes === 0) return;
    const store = action.copy();
    store.verb = 'store';
    this.#cpu.start(made, store);
  }

  #decideFork({ process }: PathProcess): void {
    const { provenance, arena } = this.#world;
    if (provenance === null) return;
    const { table } = process.space;
    for (const vpn of table.entries()) {
      if ((table.bitsAt(vpn) & (Pte.PRESENT | Pte.SPECIAL)) !== Pte.PRESENT) continue;
      const head = arena.region.head[frameOf(table.frameAt(vpn))];
      if ((arena.region.flags[head] & FrameFlag.ANON) !== 0) provenance.decide('fork', head);
    }
  }

  #adoptChild(parent: ModelProcess, child: PathProcess, object: ModelObject): void {
    const home = object.homes.find(({ process }) => process === parent);
    if (home === undefined) return;
    const mine = child.model.pages.get(home.vpn);
    if (mine === undefined || mine.isShared) return;
    mine.object.doubt(0, PAGE_BYTES, Certainty.LOOSE);
  }

  #kill(made: PathProcess): void {
    const world = this.#world;
    for (const op of world.model.inFlight) if (op.process === made.model) op.isKilled = true;
    world.processes[made.slot] = null;
    made.model.isAlive = false;
    for (const vpn of [...made.model.pages.keys()]) made.model.dropPage(vpn);
    made.process.kill();
  }

  #map({ process, model }: PathProcess, action: PathAction): void {
    const { addr, bytes } = action;
    const shared = action.has(ActionFlag.SHARED);
    const protection = protectionOf(action.flags);
    const folioOrder = action.has(ActionFlag.LARGE) ? LARGE_ORDER : 0;
    const result = process.space.mmap({ addr, bytes, protection, shared, folioOrder });
    if (result !== addr) return;
    const rights = rightsOf(action.flags);
    const all = shared ? new ModelObject(`shared@${addr.toString(16)}`, bytes) : null;
    for (let done = 0; done < bytes; done += PAGE_BYTES) {
      const vpn = (addr + done) / PAGE_BYTES;
      const object = all ?? privateObject(model, vpn);
      const at = all === null ? 0 : done;
      const rest = { isFilePrivate: false, isShared: shared, isOfFile: false };
      model.setPage(vpn, { object, at, ...rights, ...rest });
    }
    this.#disturb(model, addr, bytes);
  }

  #mapFile({ process, model }: PathProcess, action: PathAction): void {
    const { addr, bytes, at: offset } = action;
    const file = this.#world.pathFiles[action.file];
    if (file === undefined || file.file === null) return;
    const shared = action.has(ActionFlag.SHARED);
    const protection = protectionOf(action.flags);
    const options = { addr, bytes, protection, shared, offset };
    const result = process.mmapFile(2 * action.file, options);
    if (result !== addr) return;
    const rights = rightsOf(action.flags);
    for (let done = 0; done < bytes; done += PAGE_BYTES) {
      const vpn = (addr + done) / PAGE_BYTES;
      const at = offset + done;
      if (at >= file.object.bytes.length) model.dropPage(vpn);
      else {
        const page = { object: file.object, at, ...rights, isFilePrivate: !shared };
        model.setPage(vpn, { ...page, isShared: shared, isOfFile: true });
      }
    }
    this.#disturb(model, addr, bytes);
  }

  #unmap({ process, model }: PathProcess, { addr, bytes }: PathAction): void {
    if (process.space.munmap(addr, bytes) !== 0) return;
    this.#disturb(model, addr, bytes);
    for (let done = 0; done < bytes; done += PAGE_BYTES) model.dropPage((addr + done) / PAGE_BYTES);
  }

  #protect({ process, model }: PathProcess, action: PathAction): void {
    const { addr, bytes } = action;
    process.space.mprotect(addr, bytes, protectionOf(action.flags));
    this.#disturb(model, addr, bytes);
    const rights = rightsOf(action.flags);
    for (let at = addr; at < addr + bytes; at += PAGE_BYTES) {
      const area = process.space.areaAt(at);
      const page = model.pageAt(at);
      if (area === null) return; // -ENOMEM at the first hole.
      if (page !== null) Object.assign(page, rights);
    }
  }

  /** Private anonymous memory grows, shrinks, moves. */
  #move({ process, model }: PathProcess, action: PathAction): void {
    const { addr, bytes } = action;
    const { space } = process;
    const newBytes = Math.max(PAGE_BYTES, action.at % (12 * PAGE_BYTES));
    const area = space.areaAt(addr);
    if (area === null || area.ops !== null || area.isShared || addr + bytes > area.end) return;
    const { protection } = area;
    const to = space.mremap(addr, bytes, newBytes, true);
    if (to < 0) return;
    const first = addr / PAGE_BYTES;
    const moved: (ModelPage | undefined)[] = [];
    for (let i = 0; i < bytes / PAGE_BYTES; i++) {
      moved.push(model.pages.get(first + i));
      model.dropPage(first + i);
    }
    const canRead = protection !== Protection.NONE;
    const canWrite = (protection & Protection.WRITE) !== 0;
    for (let i = 0; i < newBytes / PAGE_BYTES; i++) {
      const vpn = to / PAGE_BYTES + i;
      const rest = { canRead, canWrite, isFilePrivate: false, isShared: false, isOfFile: false };
      const object = moved[i]?.object ?? privateObject(model, vpn);
      model.setPage(vpn, { object, at: 0, ...rest });
    }
    this.#disturb(model, addr, bytes);
    this.#disturb(model, to, newBytes);
  }

  /** Operations in flight on these addresses may see the old mapping, the new one, or none. */
  #disturb(process: ModelProcess, addr: number, bytes: number): void {
    this.#world.model.remapped(process, addr, bytes, true);
  }

  releaseAll(): void {
    this.#longTerm.releaseAll();
  }

  checkMemory(made: PathProcess): void {
    this.#cpu.checkAll(made);
  }
}

function protectionOf(flags: number): number {
  const read = (flags & ActionFlag.READABLE) !== 0 ? Protection.READ : 0;
  return (flags & ActionFlag.WRITABLE) !== 0 ? Protection.READ | Protection.WRITE : read;
}

function rightsOf(flags: number): { readonly canRead: boolean; readonly canWrite: boolean } {
  const protection = protectionOf(flags);
  return { canRead: protection !== 0, canWrite: (protection & Protection.WRITE) !== 0 };
}

function privateObject(model: ModelProcess, vpn: number): ModelObject {
  return new ModelObject(`${model.name}@${(vpn * PAGE_BYTES).toString(16)}`, PAGE_BYTES);
}

function copyOf(page: ModelPage, child: ModelProcess, vpn: number): ModelObject {
  const object = privateObject(child, vpn);
  object.copyPage(page.object, page.at);
  return object;
}
