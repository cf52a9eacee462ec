import { PAGE_BYTES } from '../../../base/units.ts';
import type { SeededRandom } from '../seeded-random.ts';
import { ActionFlag, type PathAction, type Verb } from './path-action.ts';

/** Every process has its memory here: 64 pages, so that mappings meet and overlap. */
export const WINDOW_START = 0x400_0000;
export const WINDOW_PAGES = 64;

/** How often a step turns to memory that is in use: only there can anything race. */
const BUSY_SHARE = 0.4;

/** Of all steps: something that meets an operation in flight on purpose. */
const RACE_SHARE = 0.06;
const RACES: readonly Verb[] = ['store', 'store', 'store', 'fork', 'fork', 'map', 'unmap', 'load'];

/** What a choice must know of the world. */
export interface ChoiceWorld {
  readonly processSlots: number;
  readonly extentFiles: number;
  /** Extent files and raw ranges. */
  readonly files: number;
  fileBytes(file: number): number;
  blockBytes(file: number): number;
  isAlive(slot: number): boolean;
  isMapped(slot: number, vpn: number): boolean;
  readonly hasRoom: boolean;
  /** An address that an operation in flight of the process uses; -1: there is none. */
  busyAddr(slot: number, choice: number): number;
  /** A slot without a process; -1: all have one. */
  freeSlot(choice: number): number;
  /** The process of an operation in flight that uses memory; -1: there is none. */
  busySlot(choice: number): number;
}

/** Of a thousand. What is left over lets time pass. */
const WEIGHTS: readonly (readonly [Verb, number])[] = [
  ['store', 110],
  ['load', 60],
  ['direct-read', 70],
  ['direct-write', 60],
  ['mixed-write', 12],
  ['pass-read', 4],
  ['pass-write', 3],
  ['read', 40],
  ['write', 50],
  ['map', 14],
  ['map-file', 14],
  ['unmap', 6],
  ['protect', 5],
  ['move', 4],
  ['fork', 10],
  ['exit', 8],
  ['kill', 5],
  ['spawn', 6],
  ['fsync', 10],
  ['msync', 6],
  ['truncate', 5],
  ['punch', 5],
  ['allocate', 5],
  ['register', 4],
  ['unregister', 4],
  ['reclaim', 14],
  ['migrate', 14],
  ['hint', 6],
  ['cancel', 5],
];
const TABLE: Verb[] = [];
for (const [verb, weight] of WEIGHTS) for (let i = 0; i < weight; i++) TABLE.push(verb);
while (TABLE.length < 1000) TABLE.push('tick');

/** These wait for nothing and need a free place among the operations in flight. */
const STARTS: ReadonlySet<Verb> = new Set<Verb>([
  'load',
  'store',
  'read',
  'write',
  'direct-read',
  'direct-write',
  'mixed-write',
  'pass-read',
  'pass-write',
  'fsync',
  'msync',
  'truncate',
  'punch',
  'allocate',
]);

/** Fills `action` with the next step. */
export function chooseAction(random: SeededRandom, world: ChoiceWorld, action: PathAction): void {
  let verb = TABLE[random.below(TABLE.length)];
  let who = random.below(world.processSlots);
  const busy = random.chance(RACE_SHARE) ? world.busySlot(random.below(64)) : -1;
  if (busy >= 0) {
    who = busy;
    verb = random.pick(RACES);
  }
  action.set(verb, who, random.uint32());
  if (verb === 'tick') return;
  if (STARTS.has(verb) && !world.hasRoom) {
    action.set('tick', 0, action.salt);
    return;
  }
  if (verb !== 'spawn' && !world.isAlive(who)) action.verb = 'spawn';
  chooseFields(random, world, action, busy >= 0);
}

/** `isRace`: the memory of an operation in flight is what it is about. */
function chooseFields(
  random: SeededRandom,
  world: ChoiceWorld,
  action: PathAction,
  isRace: boolean,
): void {
  switch (action.verb) {
    case 'store':
    case 'load':
      chooseCpu(random, world, action, isRace);
      break;
    case 'read':
    case 'write':
    case 'direct-read':
    case 'direct-write':
      chooseTransfer(random, world, action);
      break;
    case 'mixed-write':
      action.file = world.extentFiles + random.below(world.files - world.extentFiles);
      action.addr = mappedAddr(random, world, action.who);
      action.at = random.below(2 ** 16) * 512;
      action.bytes = random.between(1, 6) * PAGE_BYTES;
      break;
    case 'pass-read':
    case 'pass-write':
      choosePassthrough(random, world, action);
      break;
    case 'map':
    case 'map-file':
      chooseMapping(random, world, action);
      break;
    case 'unmap':
    case 'protect':
    case 'move':
    case 'msync':
    case 'hint':
    case 'register':
      action.addr = mappedAddr(random, world, action.who);
      action.bytes = random.between(1, 8) * PAGE_BYTES;
      action.at = random.below(WINDOW_PAGES) * PAGE_BYTES;
      action.flags = random.pick([0, 1, 1, 3, 3, 3]);
      break;
    case 'fsync':
    case 'truncate':
    case 'punch':
    case 'allocate':
      action.file = random.below(world.extentFiles);
      chooseRange(random, world, action, random.pick([1, 512, PAGE_BYTES, PAGE_BYTES]));
      break;
    case 'fork':
      chooseFork(random, world, action, isRace);
      break;
    case 'reclaim':
      action.bytes = random.pick([1, 4, 16, 64]);
      break;
    case 'migrate':
      action.at = random.below(2 ** 16);
      chooseBusyPage(random, world, action);
      break;
    case 'cancel':
    case 'unregister':
      action.at = random.below(2 ** 16);
      break;
    default:
      break;
  }
}

/** Into a free slot. If there is none and it matters, another process makes room for the next. */
function chooseFork(
  random: SeededRandom,
  world: ChoiceWorld,
  action: PathAction,
  isRace: boolean,
): void {
  const free = world.freeSlot(random.below(world.processSlots));
  action.at = free < 0 ? random.below(world.processSlots) : free;
  if (isRace && free >= 0) {
    // The parent goes on with the memory that a device has: it must stay the parent's.
    action.addr = Math.max(world.busyAddr(action.who, random.below(64)), 0);
    action.bytes = random.pick([1, 8, 512]);
  }
  if (!isRace || free >= 0 || world.processSlots < 2) return;
  action.verb = 'exit';
  action.who = (action.who + 1) % world.processSlots;
  action.at = 0;
}

/** Half of the migrations are of a page that something in flight uses. */
function chooseBusyPage(random: SeededRandom, world: ChoiceWorld, action: PathAction): void {
  const slot = random.chance(0.5) ? world.busySlot(random.below(64)) : -1;
  if (slot < 0) return;
  action.who = slot;
  action.addr = Math.max(world.busyAddr(slot, random.below(64)), 0);
}

function chooseCpu(
  random: SeededRandom,
  world: ChoiceWorld,
  action: PathAction,
  isRace: boolean,
): void {
  const busy = isRace ? world.busyAddr(action.who, random.below(64)) : -1;
  action.addr = busy < 0 ? mappedAddr(random, world, action.who) : busy - (busy % PAGE_BYTES);
  const isWhole = random.chance(0.3);
  action.addr += isWhole ? 0 : random.below(PAGE_BYTES);
  action.bytes = isWhole ? PAGE_BYTES : random.pick([1, 8, 100, 512, 3000]);
  if (random.chance(0.1)) action.bytes += 2 * PAGE_BYTES;
}

function chooseTransfer(random: SeededRandom, world: ChoiceWorld, action: PathAction): void {
  const isDirect = action.verb === 'direct-read' || action.verb === 'direct-write';
  action.file = random.below(isDirect ? world.files : world.extentFiles);
  const block = world.blockBytes(action.file);
  const fine = isDirect ? random.pick([block, block, PAGE_BYTES, PAGE_BYTES, 512, 1]) : 1;
  chooseRange(random, world, action, isDirect ? fine : random.pick([1, 512, PAGE_BYTES]));
  action.addr = mappedAddr(random, world, action.who);
  const roll = random.below(10);
  if (roll > 7) action.addr += random.below(PAGE_BYTES);
  else if (roll > 5) action.addr += random.below(8) * 512;
  if (random.chance(0.2)) action.flags |= ActionFlag.VECTOR;
  if (random.chance(0.05)) action.flags |= ActionFlag.SEQUENTIAL;
}

/** Whole sectors; the memory starts on a page, on a sector, on a word, or anywhere. */
function choosePassthrough(random: SeededRandom, world: ChoiceWorld, action: PathAction): void {
  action.addr = mappedAddr(random, world, action.who);
  for (let i = 0; i < 4; i++) {
    const behind = action.addr / PAGE_BYTES + 1;
    if (world.isMapped(action.who, behind - 1) && world.isMapped(action.who, behind)) break;
    action.addr = mappedAddr(random, world, action.who);
  }
  action.addr += random.pick([0, 0, random.below(8) * 512, random.below(1024) * 4, 1]);
  action.bytes = random.between(1, random.chance(0.2) ? 48 : 16) * 512;
  action.at = random.below(2 ** 10) * 512;
  if (random.chance(0.3)) action.flags |= ActionFlag.VECTOR;
}

/** Bytes [at, at + bytes) of the file in multiples of `unit`; sometimes over its end. */
function chooseRange(
  random: SeededRandom,
  world: ChoiceWorld,
  action: PathAction,
  unit: number,
): void {
  const size = world.fileBytes(action.file);
  const pages = random.chance(0.1) ? 12 : 3;
  const most = Math.max(1, Math.floor((pages * PAGE_BYTES) / unit));
  action.bytes = random.between(1, most) * unit;
  action.at = random.below(Math.max(1, Math.floor(size / unit))) * unit;
}

function chooseMapping(random: SeededRandom, world: ChoiceWorld, action: PathAction): void {
  const pages = random.between(1, 12);
  const first = random.below(WINDOW_PAGES - pages + 1);
  const busy = random.chance(BUSY_SHARE) ? world.busyAddr(action.who, random.below(64)) : -1;
  const start = busy < 0 ? WINDOW_START + first * PAGE_BYTES : busy;
  action.addr = Math.floor(start / PAGE_BYTES) * PAGE_BYTES;
  action.bytes = pages * PAGE_BYTES;
  action.flags = ActionFlag.READABLE;
  if (random.chance(0.9)) action.flags |= ActionFlag.WRITABLE;
  const isFile = action.verb === 'map-file';
  if (random.chance(isFile ? 0.7 : 0.25)) action.flags |= ActionFlag.SHARED;
  if (!isFile) {
    if (random.chance(0.3)) action.flags |= ActionFlag.LARGE;
    return;
  }
  action.file = random.below(world.extentFiles);
  action.at = random.below(world.fileBytes(action.file) / PAGE_BYTES) * PAGE_BYTES;
}

/** A page of the window, mapped more often than not, and often in use by something in flight. */
function mappedAddr(random: SeededRandom, world: ChoiceWorld, slot: number): number {
  const busy = random.chance(BUSY_SHARE) ? world.busyAddr(slot, random.below(64)) : -1;
  if (busy >= 0) return Math.floor(busy / PAGE_BYTES) * PAGE_BYTES;
  const first = WINDOW_START / PAGE_BYTES;
  let vpn = first + random.below(WINDOW_PAGES);
  for (let i = 0; i < 6 && !world.isMapped(slot, vpn); i++) {
    vpn = first + random.below(WINDOW_PAGES);
  }
  return vpn * PAGE_BYTES;
}
