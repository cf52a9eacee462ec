import type { Limits } from '../../limits/limits.ts';
import type {
  DmaEvent,
  MetaEvent,
  PointerEvent,
  PointerRow,
  RefuseEvent,
  ScatterEvent,
  UnmapEvent,
} from '../../trace/event.ts';
import type { ControllerChoice } from './explain-engine.ts';
import { count, exactSize, hex, place } from './explain-text.ts';

// What a driver and its controller do with the memory of a request, as sentences.

export function scatterText({ request, segments }: ScatterEvent): string {
  const bytes = segments.reduce((sum, segment) => sum + segment.bytes, 0);
  const entries = segments.length === 1 ? '1 entry' : `${segments.length} entries`;
  return `request ${request} as a scatterlist: ${entries}, ${exactSize(bytes)}`;
}

export function dmaText(event: DmaEvent, choice: ControllerChoice | null): string {
  const { entries, bounces, ranges } = event;
  const from = entries === 1 ? '1 entry' : `${entries} entries`;
  const to = `${from} in ${count(ranges.length, 'device range')}, ${addressesText(choice)}`;
  return bounces === 0 ? to : `${to}; ${bounces} through bounce buffers`;
}

function addressesText(choice: ControllerChoice | null): string {
  switch (choice?.dma) {
    case 'iommu':
      return 'by IOVA: entries that meet at 4 KiB become one range';
    case 'untrusted':
      return 'by IOVA, and the device sees its data alone';
    case 'bounce':
      return 'by physical addresses of 32 bits';
    case 'direct':
    case undefined:
      return 'by physical addresses';
  }
}

export function pointerText({ kind, rows, listPages }: PointerEvent): string {
  const data = rows.filter((row) => row.kind === 'prp' || row.kind === 'data').length;
  const what = kind === 'prp' ? 'PRP' : 'SGL';
  const unit =
    kind === 'prp' ? (data === 1 ? 'entry' : 'entries') : `descriptor${data === 1 ? '' : 's'}`;
  const lists = listPages === 0 ? 'all in the command' : `in ${count(listPages, 'list page')}`;
  return `${what}: ${data} ${unit}, ${lists}`;
}

/** `PRP1 0x80001000 + 4 KiB`, `list 0x80000000 + 96 B`: in the order of a controller's reading. */
export function pointerRowText(row: PointerRow, index: number): string {
  const where = row.bytes === 0 ? hex(row.address) : place(row.address, row.bytes);
  switch (row.kind) {
    case 'prp':
      return row.list === null ? `PRP${index + 1} ${where}` : where;
    case 'data':
      return where;
    case 'segment':
    case 'last-segment':
      return `list ${where}`;
  }
}

export function refuseText({ isNever, bytes, reason }: RefuseEvent): string {
  const when = isNever ? 'can never be made ready' : 'waits for a completion';
  return `${exactSize(bytes)} ${when}: ${reason}`;
}

export function unmapText({ request, status, bytes, bounces, isRead }: UnmapEvent): string {
  const moved = `the controller moved ${exactSize(bytes)} of request ${request}`;
  const how = status === 0 ? moved : `${moved} and ended with status 0x${status.toString(16)}`;
  const back = isRead && bounces > 0 ? `, ${count(bounces, 'bounce buffer')} copied back` : '';
  return `${how}; its ranges, list and pointer are let go${back}`;
}

/** What happens to the metadata, and why: two sentences. */
export function metaText(event: MetaEvent, limits: Limits): [string, string] {
  const { verdict, bytes, entries, segments } = event;
  const why = metaReason(event, limits);
  const rows = count(segments.length, 'row');
  const pins = entries === 0 ? '' : `, ${count(entries, 'entry', 'entries')} of the program pinned`;
  if (verdict === 'map') return [`${exactSize(bytes)} of metadata as they lie${pins}`, why];
  return [`${exactSize(bytes)} of metadata through own pages in ${rows}${pins}`, why];
}

function metaReason({ reason, entries }: MetaEvent, limits: Limits): string {
  const { max_integrity_segments: most, dma_alignment: mask, virt_boundary_mask: virt } = limits;
  switch (reason) {
    case 'fits':
      return `it lies in ${count(entries, 'segment')}, of which the device takes ${most || 'any'}`;
    case 'segments':
      return `its pieces are more than max_integrity_segments ${most}`;
    case 'address':
      return `it does not lie on ${mask + 1} bytes, as dma_alignment ${mask} asks`;
    case 'gap':
      return `its pieces leave a gap at virt_boundary_mask ${virt}`;
    default:
      return `the reason is: ${reason}`;
  }
}
