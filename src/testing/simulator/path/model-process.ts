import { PAGE_BYTES } from '../../../base/units.ts';
import { Certainty, ModelObject } from './model-object.ts';
import type { Span } from './path-op.ts';

export interface ModelPage {
  object: ModelObject;
  /** Byte of the object that the page starts at. */
  at: number;
  canRead: boolean;
  canWrite: boolean;
  /** A write parts the page from `object`: private memory of a file that nobody wrote yet. */
  isFilePrivate: boolean;
  readonly isShared: boolean;
  /** Maps a file, or did before it parted: it may end before this page, or fail to be read. */
  readonly isOfFile: boolean;
}

/** What a process must see at each address. */
export class ModelProcess {
  readonly name: string;
  readonly pages = new Map<number, ModelPage>();
  isAlive = true;

  constructor(name: string) {
    this.name = name;
  }

  pageAt(addr: number): ModelPage | null {
    return this.pages.get(Math.floor(addr / PAGE_BYTES)) ?? null;
  }

  setPage(vpn: number, page: ModelPage): void {
    this.dropPage(vpn);
    this.pages.set(vpn, page);
    if (!page.object.isFile)
      page.object.homes.push({ process: this, vpn: vpn - page.at / PAGE_BYTES });
  }

  dropPage(vpn: number): void {
    const page = this.pages.get(vpn);
    if (page === undefined) return;
    this.pages.delete(vpn);
    const { homes } = page.object;
    const first = vpn - page.at / PAGE_BYTES;
    const at = homes.findIndex((home) => home.process === this && home.vpn === first);
    if (at >= 0) homes.splice(at, 1);
  }

  /** The page parts from its file: it has the file's bytes of now, and its own from now on. */
  part(vpn: number, page: ModelPage): ModelPage {
    const object = new ModelObject(`${this.name}@${(vpn * PAGE_BYTES).toString(16)}`, PAGE_BYTES);
    object.copyPage(page.object, page.at);
    const own = { ...page, object, at: 0, isFilePrivate: false };
    this.setPage(vpn, own);
    return own;
  }

  /** Pages in [addr, addr + bytes) that part from their file when a device writes there. */
  partPinned(addr: number, bytes: number): number[] {
    const parted: number[] = [];
    for (let vpn = Math.floor(addr / PAGE_BYTES); vpn * PAGE_BYTES < addr + bytes; vpn++) {
      const page = this.pages.get(vpn);
      if (page === undefined || !page.isFilePrivate || !page.canWrite) continue;
      this.part(vpn, page).object.doubt(0, PAGE_BYTES, Certainty.LOOSE);
      parted.push(vpn);
    }
    return parted;
  }

  /** The ranges of objects under [addr, addr + bytes), as far as they are mapped. */
  spans(addr: number, bytes: number, from: number, out: Span[]): void {
    for (let done = 0; done < bytes; ) {
      const inPage = (addr + done) % PAGE_BYTES;
      const step = Math.min(PAGE_BYTES - inPage, bytes - done);
      const page = this.pageAt(addr + done);
      if (page !== null) {
        out.push({ object: page.object, at: page.at + inPage, bytes: step, from: from + done });
      }
      done += step;
    }
  }
}
