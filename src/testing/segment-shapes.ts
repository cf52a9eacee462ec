import { PAGE_BYTES } from '../base/units.ts';

/** One piece of a shape: a range of the page-aligned buffer that the shape is laid on. */
export interface ShapePiece {
  readonly page: number;
  readonly offset: number;
  readonly len: number;
}

export interface SegmentShape {
  readonly name: string;
  /** Bios of one request, each a list of pieces in order. */
  readonly bios: readonly (readonly ShapePiece[])[];
  /** Memory appears twice: right for writes, without meaning for reads. */
  readonly repeats: boolean;
}

/** Pages that a buffer needs for any shape. */
export const SHAPE_PAGES = 128;

const piece = (page: number, offset: number, len: number): ShapePiece => ({ page, offset, len });
const one = (name: string, ...pieces: ShapePiece[]): SegmentShape => ({
  name,
  bios: [pieces],
  repeats: false,
});
const twice = (name: string, ...pieces: ShapePiece[]): SegmentShape => ({
  name,
  bios: [pieces],
  repeats: true,
});

/**
 * Segments as programs have them. Not every device takes every one: the user of the list asks
 * `checkRequest` first.
 */
export const SEGMENT_SHAPES: readonly SegmentShape[] = [
  one('a page', piece(3, 0, PAGE_BYTES)),
  one('a sector in the middle of a page', piece(5, 1536, 512)),
  one('three scattered pages, backwards', ...[9, 5, 1].map((page) => piece(page, 0, PAGE_BYTES))),
  one('a run of 16 pages', piece(16, 0, 16 * PAGE_BYTES)),
  one('a run of pages from the middle of the first', piece(40, 512, 5 * PAGE_BYTES)),
  one('an offset beyond the first page', piece(60, 2 * PAGE_BYTES + 512, PAGE_BYTES)),
  one('across the edge of two pages', piece(70, 2048, PAGE_BYTES)),
  one(
    'ends inside pages, edges at pages between',
    piece(80, 3584, 512),
    piece(84, 0, PAGE_BYTES),
    piece(82, 0, 1024),
  ),
  one(
    'sixteen scattered sectors',
    ...Array.from({ length: 16 }, (_, i) => piece(127 - 3 * i, 512 * (i % 8), 512)),
  ),
  one('half a sector in each of two pages', piece(90, 256, 256), piece(94, 1024, 256)),
  one('pieces of four bytes and of 508', piece(97, 4, 508), piece(96, 100, 4)),
  one('odd pieces at odd addresses', piece(99, 1, 511), piece(98, 4095, 1)),
  one('a piece of one byte on either side of a page', piece(33, 7, 1), piece(35, 0, 4095)),
  one('64 pages', piece(0, 0, 64 * PAGE_BYTES)),
  twice('the same page twice', piece(100, 0, PAGE_BYTES), piece(100, 0, PAGE_BYTES)),
  twice('overlapping halves of a page', piece(102, 0, 3072), piece(102, 1024, 3072)),
  {
    name: 'three bios in one request',
    bios: [[piece(110, 0, PAGE_BYTES)], [piece(104, 0, PAGE_BYTES)], [piece(106, 0, 8192)]],
    repeats: false,
  },
  {
    name: 'bios of several segments in one request',
    bios: [
      [piece(1, 0, PAGE_BYTES), piece(3, 0, PAGE_BYTES)],
      [piece(7, 0, PAGE_BYTES), piece(5, 0, PAGE_BYTES), piece(2, 0, PAGE_BYTES)],
      [piece(9, 0, 512)],
    ],
    repeats: false,
  },
];

export function shapeBytes(shape: SegmentShape): number {
  return shape.bios.flat().reduce((sum, { len }) => sum + len, 0);
}
