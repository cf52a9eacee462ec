import { formatSize, SECTOR_BYTES } from '../../base/units.ts';
import type { Limits } from '../../limits/limits.ts';
import type {
  BioEvent,
  CopyEvent,
  DmaEvent,
  HoldEvent,
  MergeEvent,
  MetadataEvent,
  MetaEvent,
  PointerEvent,
  RefuseEvent,
  RequestEvent,
  ScatterEvent,
  SegmentRecord,
  TraceEvent,
  TupleRecord,
  UnmapEvent,
} from '../../trace/event.ts';
import {
  dmaText,
  metaText,
  pointerRowText,
  pointerText,
  refuseText,
  scatterText,
  unmapText,
} from './explain-dma.ts';
import type { ExplainCounts, ExplainRequest, Explanation } from './explain-run.ts';
import {
  count,
  exactSize,
  hex,
  onDevice,
  place,
  splitText,
  statusText,
  verdictText,
} from './explain-text.ts';

export interface FormatOptions {
  /** Name of the preset or file. */
  readonly limitsName: string;
  /** Pieces of memory that a step lists; the rest is counted. */
  readonly segmentsMax: number;
}

type DriverEvent = DmaEvent | MetaEvent | PointerEvent | RefuseEvent | ScatterEvent | UnmapEvent;

const STEP_WIDTH = 4;
const VERB_WIDTH = 10;
const INDENT = ' '.repeat(STEP_WIDTH + VERB_WIDTH);
const COLUMNS = 96;
const SEGMENTS_PER_LINE = 3;
const SEGMENT_WIDTH = 27;

/** An explanation for people: what was asked, every step with its reason, what it came to. */
export function explainLines(explanation: Explanation, options: FormatOptions): string[] {
  const lines = [...head(explanation, options), ''];
  const formatter = new StepFormatter(explanation, options.segmentsMax);
  for (const event of explanation.events) lines.push(...formatter.step(event));
  return [...lines, '', ...foot(explanation)];
}

function head(explanation: Explanation, options: FormatOptions): string[] {
  const { request, bytes, ranges } = explanation;
  const { op, position, profile, copy, limits, isContiguous } = request;
  const how = isContiguous ? 'contiguous' : 'scattered';
  return [
    `${op} of ${exactSize(bytes)} at byte ${position}, copy ${copy}, profile ${profile.name}`,
    `limits ${options.limitsName}: ${limitsLine(limits)}`,
    ...deviceLine(request),
    ...ranges.map((range, i) => {
      const pages = `${range.pages} ${range.pages === 1 ? 'page' : 'pages'}`;
      const pieces = `${range.fragments} ${range.fragments === 1 ? 'fragment' : 'fragments'}`;
      const where = place(range.addr, range.bytes);
      return `memory ${i}: ${where}, ${pages} in ${pieces} (${how} frames)`;
    }),
  ];
}

function deviceLine({ controller, passthrough }: ExplainRequest): string[] {
  if (controller === null) return [];
  const { pointer, dma } = controller;
  const how = passthrough === null ? 'through the queue' : 'as one command, past the queue';
  return [`device: an NVMe controller, ${pointer.toUpperCase()}s, DMA ${dma}, ${how}`];
}

function limitsLine(limits: Limits): string {
  const { chunk_sectors: chunk, virt_boundary_mask: virt } = limits;
  const parts = [
    `block ${formatSize(limits.logical_block_size)}`,
    `request ${formatSize(limits.max_sectors * SECTOR_BYTES)}`,
    `${limits.max_segments} segments`,
    `dma_alignment ${limits.dma_alignment}`,
  ];
  if (virt !== 0) parts.push(`virt_boundary ${formatSize(virt + 1)}`);
  if (chunk !== 0) parts.push(`chunk ${formatSize(chunk * SECTOR_BYTES)}`);
  return parts.join(', ');
}

/** Turns events into numbered steps. A step is a line, its reason and its memory below it. */
class StepFormatter {
  readonly #explanation: Explanation;
  readonly #segmentsMax: number;
  #step = 0;
  /** Bios whose segments were listed and that were not cut since. */
  readonly #listed = new Set<string>();

  constructor(explanation: Explanation, segmentsMax: number) {
    this.#explanation = explanation;
    this.#segmentsMax = segmentsMax;
  }

  step(event: TraceEvent): string[] {
    switch (event.type) {
      case 'map': {
        const { request } = this.#explanation;
        const [what, why] = verdictText(event, request);
        const revised = event.isRevised ? 'after a look at the built bio: ' : '';
        return [...this.#lines(event.verdict, `${revised}${what}`), ...wrap(`because ${why}`)];
      }
      case 'hold':
      case 'release':
        return this.#hold(event);
      case 'copy':
        return this.#lines('copy', copyText(event));
      case 'bio':
        return this.#bio(event);
      case 'split': {
        this.#listed.delete(event.of);
        const front = onDevice(event.bytes, event.sector);
        const rest = exactSize(event.restBytes);
        const what = `bio ${event.bio} is cut off bio ${event.of}: ${front}, ${rest} are left`;
        const why = splitText(event, this.#explanation.request.limits);
        return [...this.#lines('split', what), ...wrap(`because of ${why}`)];
      }
      case 'request':
        return this.#request(event);
      case 'merge':
        return this.#lines('merge', mergeText(event));
      case 'issue':
      case 'requeue': {
        const { request, op, bytes, sector } = event;
        const again = event.type === 'requeue' ? 'the rest again: ' : '';
        const what = `request ${request} to the device: ${again}${op} ${onDevice(bytes, sector)}`;
        return this.#lines(event.type, what);
      }
      case 'complete': {
        const { request, bytes, status } = event;
        const what = `request ${request}: ${exactSize(bytes)} done, ${statusText(status)}`;
        return this.#lines('complete', what);
      }
      case 'metadata':
        return [...this.#lines('tuples', metadataText(event)), ...tupleLines(event.tuples)];
      case 'end': {
        const { bio, bytes, status } = event;
        const what = `bio ${bio} with all its parts: ${exactSize(bytes)}, ${statusText(status)}`;
        return this.#lines('end', what);
      }
      default:
        return this.#driver(event);
    }
  }

  /** What the driver of a controller does, and the submitter of a command. */
  #driver(event: DriverEvent): string[] {
    switch (event.type) {
      case 'meta': {
        const [what, why] = metaText(event, this.#explanation.request.limits);
        const lines = [...this.#lines('meta', what), ...wrap(`because ${why}`)];
        return [...lines, ...this.#segments(event.segments)];
      }
      case 'scatter':
        return [...this.#lines('scatter', scatterText(event)), ...this.#segments(event.segments)];
      case 'dma': {
        const what = dmaText(event, this.#explanation.request.controller);
        return [...this.#lines('dma', what), ...this.#segments(event.ranges)];
      }
      case 'pointer': {
        const rows = event.rows.map(pointerRowText);
        return [...this.#lines('pointer', pointerText(event)), ...this.#columns(rows)];
      }
      case 'refuse':
        return this.#lines('refuse', refuseText(event));
      case 'unmap':
        return this.#lines('unmap', unmapText(event));
    }
  }

  #lines(verb: string, text: string): string[] {
    const step = `${++this.#step}`.padStart(STEP_WIDTH - 2);
    const [first = '', ...more] = wrap(text);
    return [`${step}  ${verb.padEnd(VERB_WIDTH)}${first.trimStart()}`, ...more];
  }

  #hold(event: HoldEvent): string[] {
    const isOwn = event.hold === 'owned';
    const pages = count(event.pages, isOwn ? 'bounce page' : 'page');
    const whose = isOwn ? pages : `${pages} of the program`;
    if (event.type === 'release') {
      const how = isOwn ? 'freed' : event.hold === 'pinned' ? 'unpinned' : 'let go';
      return this.#lines('release', `${whose}, ${how} by transfer ${event.trace}`);
    }
    const rows = count(event.segments.length, 'bvec');
    const what = `${whose}, ${event.hold} by transfer ${event.trace}, in ${rows}`;
    return [...this.#lines('hold', what), ...this.#segments(event.segments)];
  }

  #bio(event: BioEvent): string[] {
    const { bio, op, bytes, sector, segments } = event;
    const what = `bio ${bio}: ${op} ${onDevice(bytes, sector)}, ${count(segments.length, 'bvec')}`;
    this.#listed.add(bio);
    return this.#lines('bio', what);
  }

  #request(event: RequestEvent): string[] {
    const { request, op, bytes, sector, bios, segmentCount, segments } = event;
    const [bio = '?'] = bios;
    const pieces = count(segmentCount, 'segment');
    // Bios of a command never enter the queue, so nobody named them.
    const whom = bio === '?' ? 'the command' : `bio ${bio}`;
    const what = `request ${request} for ${whom}: ${op} ${onDevice(bytes, sector)}, ${pieces}`;
    const lines = this.#lines('request', what);
    return this.#listed.has(bio) ? lines : [...lines, ...this.#segments(segments)];
  }

  #segments(segments: readonly SegmentRecord[]): string[] {
    const texts = segments.map(({ address, bytes }) => place(address, bytes));
    return this.#columns(texts, hex(segments.at(-1)?.address ?? 0));
  }

  /** As many of `texts` as are shown, in columns; `last` names the last of the others. */
  #columns(texts: readonly string[], last: string = texts.at(-1) ?? ''): string[] {
    const max = this.#segmentsMax;
    const shown = texts.slice(0, max);
    const lines: string[] = [];
    for (let i = 0; i < shown.length; i += SEGMENTS_PER_LINE) {
      const row = shown.slice(i, i + SEGMENTS_PER_LINE);
      lines.push(
        `${INDENT}${row.map((text) => text.padEnd(SEGMENT_WIDTH - 1)).join(' ')}`.trimEnd(),
      );
    }
    const more = texts.length - shown.length;
    if (more > 0 && max > 0) lines.push(`${INDENT}and ${more} more, the last at ${last}`);
    return lines;
  }
}

/** Indented lines of whole words. */
function wrap(text: string): string[] {
  const lines: string[] = [];
  let line = INDENT;
  for (const word of text.split(' ')) {
    if (line.length + word.length > COLUMNS && line !== INDENT) {
      lines.push(line.trimEnd());
      line = INDENT;
    }
    line += `${word} `;
  }
  return [...lines, line.trimEnd()];
}

function copyText({ direction, bytes, reason }: CopyEvent): string {
  const way =
    direction === 'in' ? 'from the program into own pages' : 'from own pages back to the program';
  return `${exactSize(bytes)} ${way} (reason: ${reason})`;
}

function mergeText({ where, bio, request, bytes, segmentCount }: MergeEvent): string {
  const side = where === 'front' ? 'start' : where === 'back' ? 'end' : 'ranges';
  const now = `now ${exactSize(bytes)}, ${count(segmentCount, 'segment')}`;
  return `bio ${bio} joins request ${request} at its ${side}: ${now}`;
}

function metadataText({ direction, owner, block, bytes, tuples }: MetadataEvent): string {
  const of = `${exactSize(bytes)} of metadata from block ${block} on`;
  if (direction === 'back') return `${of} came back${tuples.length > 0 ? '; the first:' : ''}`;
  return `${of}, ${owner === 'path' ? 'made here' : 'brought by the program'}`;
}

function tupleLines(tuples: readonly TupleRecord[]): string[] {
  return tuples.map(
    ({ block, guard, app, ref }) => `${INDENT}block ${block}: guard ${guard} app ${app} ref ${ref}`,
  );
}

/** What it came to. */
export function foot(explanation: Explanation): string[] {
  return [`result    ${resultText(explanation)}`, ...countLines(explanation)];
}

function metadataLines({ metadataMade, metadataChecked }: ExplainCounts): string[] {
  if (metadataMade + metadataChecked === 0) return [];
  const made = `made ${exactSize(metadataMade)}`;
  return [`metadata  ${made}, checked ${exactSize(metadataChecked)}`];
}

function countLines({ counts }: Explanation): string[] {
  const copied = Object.entries(counts.bytesCopied)
    .map(([reason, bytes]) => `${exactSize(bytes)} (${reason})`)
    .join(', ');
  const { bios, splits, merges, requests, bytesReadBeforeWrite: extra } = counts;
  const reads = extra === 0 ? '' : `, read before write ${exactSize(extra)}`;
  return [
    `bytes     mapped ${exactSize(counts.bytesMapped)}, copied ${copied || '0 B'}${reads}`,
    `counts    bios ${bios}, splits ${splits}, merges ${merges}, requests ${requests}`,
    ...metadataLines(counts),
    `pages     most held ${counts.pagesHeldMost}, most bounce pages ${counts.bouncePagesMost}`,
    `held now: ${counts.heldNow}`,
  ];
}

function resultText({ request, result, refusal, isDataRight }: Explanation): string {
  if (result < 0) return `${statusText(result)}${refusal === null ? '' : `: ${refusal}`}`;
  const data =
    isDataRight === null ? 'not compared' : isDataRight ? 'compared: identical' : 'WRONG';
  const done = request.op === 'read' ? 'read' : 'written';
  return `${exactSize(result)} ${done}, data ${data}`;
}
