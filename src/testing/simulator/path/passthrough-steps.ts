import { AssertionError } from '../../../base/assert.ts';
import { Errno } from '../../../base/errno.ts';
import { TAG_NONE } from '../../../base/slots.ts';
import { PAGE_BYTES, SECTOR_BYTES } from '../../../base/units.ts';
import { BioOp } from '../../../bio/bio-op.ts';
import { endIssued, issueChain } from '../../../engine/controller/issue-chain.ts';
import { Iovec } from '../../../iter/iovec.ts';
import { FAULT_WAIT, NO_MEMORY } from '../../../map/map-context.ts';
import { maxPassthroughBytes } from '../../../map/passthrough/bio-chain.ts';
import type { UserBuffer } from '../../../map/passthrough/map-user-io.ts';
import { NvmeCommand } from '../../../map/passthrough/nvme-command.ts';
import { SgCommand, SgDirection } from '../../../map/passthrough/sg-command.ts';
import { deviceRows } from '../../../map/passthrough/user-meta.ts';
import type { CopyPolicy } from '../../../map/verdict.ts';
import { copyIn, copyOut } from '../../../memory/copy.ts';
import type { PassthroughDisk } from './passthrough-disk.ts';
import type { PathAction } from './path-action.ts';
import { WINDOW_PAGES, WINDOW_START } from './path-choice.ts';
import { OpKind, PathOp, type Span, spansMeet } from './path-op.ts';
import type { PathProcess, PathWorld } from './path-world.ts';
import { rangesOf, type TransferSteps } from './transfer-steps.ts';

/** Commands of a program that are not yet with the device count too. */
const COMMANDS_MAX = 6;
/** After so many waits for one page, memory is too small for the command. */
const TRIES_MAX = 50;

/** One command from start to end. Pooled: its objects own large columns. */
class Command {
  readonly nvme: NvmeCommand;
  /** Through pages of the driver, or direct. */
  readonly sg: SgCommand;
  readonly iovec = new Iovec(4);
  op: PathOp | null = null;
  made: PathProcess | null = null;
  isSg = false;
  wantsDirect = false;
  isBoth = false;
  copy: CopyPolicy = 'auto';
  metaAddr = 0;
  metaBytes = 0;
  /** Byte of the medium. */
  start = 0;
  dataBytes = 0;
  isMapped = false;
  tag: number = TAG_NONE;
  tries = 0;

  constructor(disk: PassthroughDisk) {
    this.nvme = new NvmeCommand(disk.context);
    this.sg = new SgCommand(disk.context, disk.reserve);
  }

  get chain() {
    return this.isSg ? this.sg.chain : this.nvme.chain;
  }
}

/** Passthrough: one request for the memory of a command, data and metadata, mapped or copied. */
export class PassthroughSteps {
  readonly #world: PathWorld;
  readonly #transfers: TransferSteps;
  readonly #free: Command[] = [];
  readonly #busy = new Set<Command>();
  /** They wait for a tag, room or own pages: for the end of another. */
  #waiting: Command[] = [];

  constructor(world: PathWorld, transfers: TransferSteps) {
    this.#world = world;
    this.#transfers = transfers;
    const { passthrough } = world;
    passthrough.onMove = (tag) => this.#moveMeta(this.#byTag(tag));
    passthrough.onEnd = (tag) => this.#completed(this.#byTag(tag));
    for (let i = 0; i < COMMANDS_MAX; i++) this.#free.push(new Command(passthrough));
  }

  #byTag(tag: number): Command {
    for (const command of this.#busy) if (command.tag === tag) return command;
    throw new AssertionError('sim: the controller ended a command that is not there');
  }

  start(made: PathProcess, action: PathAction): void {
    const { passthrough: disk, model, clock } = this.#world;
    const command = this.#free.pop();
    if (command === undefined) return;
    const isRead = action.verb === 'pass-read';
    const { limits } = disk.context;
    // What no copy satisfies either is -EINVAL: page by page it must fit.
    const most = Math.min(maxPassthroughBytes(limits), limits.max_segments * PAGE_BYTES);
    const bytes = Math.min(action.bytes - (action.bytes % SECTOR_BYTES), most);
    const { addr, lens } = rangesOf(action, bytes);
    this.#choose(command, made, action, bytes);
    const { metaBytes, metaAddr, start } = command;
    if (metaBytes > 0) {
      addr.push(metaAddr);
      lens.push(metaBytes);
    }
    const kind = isRead ? OpKind.READ : OpKind.WRITE;
    const rest = { process: made.model, action, addr, lens, isDirect: true };
    const op = new PathOp({ ...rest, kind, bytes: bytes + metaBytes, startNs: clock.nowNs });
    op.pageMoves = this.#transfers.pageMoves();
    const memory = this.#memory(made, op, isRead);
    const place: Span[] = [{ object: disk.object, at: start, bytes, from: 0 }];
    if (metaBytes > 0) {
      const at = (start / SECTOR_BYTES) * disk.metaBytes;
      place.push({ object: disk.metaObject, at, bytes: metaBytes, from: bytes });
    }
    op.sources = isRead ? place : memory;
    op.targets = isRead ? memory : place;
    command.op = op;
    command.made = made;
    this.#busy.add(command);
    model.begin(op);
    this.#try(command);
  }

  /** What kind of command, and where its metadata lies: all from the salt of the step. */
  #choose(command: Command, made: PathProcess, action: PathAction, bytes: number): void {
    const { passthrough: disk, random } = this.#world;
    const places = disk.object.bytes.length - bytes;
    command.start = places === 0 ? 0 : action.at % places;
    command.start -= command.start % SECTOR_BYTES;
    command.dataBytes = bytes;
    command.isSg = random.chance(0.4);
    command.wantsDirect = random.chance(0.3);
    command.isBoth = action.verb === 'pass-read' && random.chance(0.2);
    command.copy = random.chance(0.15) ? 'always' : 'auto';
    command.isMapped = false;
    command.tries = 0;
    command.metaBytes = 0;
    if (command.isSg || random.chance(0.4)) return;
    const { max_integrity_segments: segments } = disk.context.limits;
    const metaBytes = (bytes / SECTOR_BYTES) * disk.metaBytes;
    if (metaBytes > (segments === 0 ? metaBytes : segments * PAGE_BYTES)) return;
    command.metaBytes = metaBytes;
    command.metaAddr = this.#metaAddr(made);
    const { addr, lens } = rangesOf(action, bytes);
    const data: Span[] = [];
    const meta: Span[] = [];
    for (const [i, at] of addr.entries()) made.model.spans(at, lens[i], 0, data);
    made.model.spans(command.metaAddr, command.metaBytes, 0, meta);
    // Over its own data nobody could say which came last.
    if (spansMeet(meta, data)) command.metaBytes = 0;
  }

  /** Mostly a page that is there; what follows it may be another's, or nothing. */
  #metaAddr({ model }: PathProcess): number {
    const { random } = this.#world;
    const first = WINDOW_START / PAGE_BYTES;
    let vpn = first + random.below(WINDOW_PAGES);
    for (let i = 0; i < 8 && !model.pages.has(vpn); i++) vpn = first + random.below(WINDOW_PAGES);
    return vpn * PAGE_BYTES + random.pick([0, 512, 1024, 4000, 4092, 3]);
  }

  #memory(made: PathProcess, op: PathOp, isRead: boolean): Span[] {
    const spans: Span[] = [];
    let from = 0;
    op.addr.forEach((addr, i) => {
      if (isRead) this.#world.model.partPinned(made.model, addr, op.lens[i]);
      made.model.spans(addr, op.lens[i], from, spans);
      from += op.lens[i];
    });
    return spans;
  }

  /** Maps the memory and sends the command, as far as it comes. */
  #try(command: Command): void {
    const { made, op } = command as { made: PathProcess; op: PathOp };
    if (!command.isMapped) {
      if (!made.model.isAlive) {
        this.#ended(command, -Errno.EINTR);
        return;
      }
      const result = this.#map(command, made, op);
      if (result === FAULT_WAIT && command.tries++ < TRIES_MAX) {
        made.process.space.whenReady(() => this.#try(command));
        return;
      }
      if (result === NO_MEMORY) {
        this.#waiting.push(command);
        return;
      }
      if (result !== 0) {
        this.#ended(command, result > 0 ? -Errno.ENOMEM : result);
        return;
      }
      this.#checkTaken(made, op);
      command.isMapped = true;
      op.isPinned = true;
    }
    this.#issue(command);
  }

  #map(command: Command, made: PathProcess, op: PathOp): number {
    const isRead = op.kind === OpKind.READ;
    const { space } = made.process;
    const ranges = command.metaBytes > 0 ? op.addr.length - 1 : op.addr.length;
    const imported = command.iovec.importRanges(op.addr, op.lens, ranges);
    const bytes = command.dataBytes;
    const isVector = ranges > 1;
    const buffer: UserBuffer = { space, iovec: command.iovec, imported, isVector, bytes };
    if (command.isSg) {
      const { BOTH, FROM_DEVICE, TO_DEVICE } = SgDirection;
      const from = command.isBoth ? BOTH : FROM_DEVICE;
      const direction = isRead ? from : TO_DEVICE;
      const { wantsDirect } = command;
      return command.sg.start({ direction, buffer, address: op.addr[0], wantsDirect });
    }
    const { metaAddr, metaBytes, copy } = command;
    const meta = metaBytes > 0 ? { space, addr: metaAddr, bytes: metaBytes } : null;
    return command.nvme.start(isRead ? BioOp.READ : BioOp.WRITE, buffer, meta, copy);
  }

  /** Nobody can take memory that the program does not have, or has no right to. */
  #checkTaken(made: PathProcess, op: PathOp): void {
    const isRead = op.kind === OpKind.READ;
    op.addr.forEach((addr, i) => {
      for (let at = addr; at < addr + op.lens[i]; at += PAGE_BYTES - (at % PAGE_BYTES)) {
        const page = made.model.pageAt(at);
        if (page !== null && (isRead ? page.canWrite : page.canRead)) continue;
        const what = `0x${at.toString(16)} of ${made.model.name} was taken, but is not there`;
        throw new AssertionError(`sim: ${what}: ${op.text}`);
      }
    });
  }

  #issue(command: Command): void {
    const { passthrough: disk, counts } = this.#world;
    const sector = command.start / SECTOR_BYTES;
    command.tag = issueChain(disk, disk.table, command.chain, sector);
    if (command.tag === TAG_NONE) {
      this.#waiting.push(command);
      return;
    }
    const { verdict } = command.isSg ? command.sg.outcome : command.nvme.outcome;
    counts.add(`passthrough: data, verdict ${verdict}`);
    const { meta } = command.nvme;
    if (!command.isSg && meta.isAttached) {
      counts.add(`passthrough: metadata, ${meta.isCopied ? 'copied' : 'mapped'}`);
    }
  }

  /** The device moves the metadata, by the rows that it was given. */
  #moveMeta(command: Command): void {
    const { passthrough: disk } = this.#world;
    const { meta } = command.nvme;
    if (command.isSg || !meta.isAttached) return;
    const { table, rows } = deviceRows(meta);
    let at = (command.start / SECTOR_BYTES) * disk.metaBytes;
    let left = command.metaBytes;
    for (let row = 0; row < rows; row++) {
      const [page, offset, len] = [table.page[row], table.offset[row], table.len[row]];
      if (len === 0 || len > left) this.#wrongRows(command, rows);
      if (meta.isRead) copyIn(page, offset, disk.metaMedium, at, len);
      else copyOut(disk.metaMedium, at, page, offset, len);
      at += len;
      left -= len;
    }
    if (left > 0) this.#wrongRows(command, rows);
  }

  #wrongRows({ op, metaBytes }: Command, rows: number): never {
    const what = `${rows} rows of metadata are not its ${metaBytes} bytes`;
    throw new AssertionError(`sim: ${what}: ${op?.text}`);
  }

  #completed(command: Command): void {
    const { passthrough: disk } = this.#world;
    const { made, chain, tag, metaBytes, dataBytes } = command;
    command.tag = TAG_NONE;
    const done = endIssued(disk.table, chain, tag);
    const transferredBytes = Math.max(done, 0);
    const hasMemory = made?.model.isAlive ?? false;
    const result = command.isSg
      ? command.sg.finish(transferredBytes, hasMemory)
      : command.nvme.finish({ transferredBytes, metaBytes: done > 0 ? metaBytes : 0, hasMemory });
    command.isMapped = false;
    const error = done < 0 ? done : result;
    this.#ended(command, error < 0 ? error : dataBytes + metaBytes);
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const other of waiting) this.#try(other);
  }

  #ended(command: Command, result: number): void {
    const { counts } = this.#world;
    const { made, op } = command as { made: PathProcess; op: PathOp };
    op.ends++;
    if (op.ends > 1) throw new AssertionError(`sim: ended twice: ${op.text}`);
    counts.add(`end: ${op.action.verb}`);
    if (result < 0) counts.add(`passthrough: ended with ${result}`);
    if (result < 0) this.#checkError(made, op, result);
    else if (op.kind === OpKind.READ) this.#transfers.checkDirty(made, op);
    command.op = null;
    command.made = null;
    this.#busy.delete(command);
    this.#free.push(command);
    this.#transfers.settled(op, Math.max(result, 0));
  }

  #checkError(made: PathProcess, op: PathOp, result: number): void {
    const { hasErrors, isTight } = this.#world;
    if (result === -Errno.EINTR && op.isKilled && !op.isPinned) return;
    if (result === -Errno.EIO && hasErrors && op.isPinned) return;
    if (result === -Errno.ENOMEM && isTight && !op.isPinned) return;
    const mayFault = op.isDisturbed || hasErrors || !this.#transfers.isAllMapped(made.model, op);
    if (result === -Errno.EFAULT && mayFault && !op.isPinned) return;
    throw new AssertionError(`sim: ended with ${result}: ${op.text}`);
  }
}
