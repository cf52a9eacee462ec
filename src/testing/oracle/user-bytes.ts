import { PAGE_BYTES } from '../../base/units.ts';
import type { Iovec } from '../../iter/iovec.ts';
import { Access } from '../../memory/address-space.ts';
import { copyOut } from '../../memory/copy.ts';
import type { CaseMemory } from './case-memory.ts';

// The bytes of a recorded program, page by page, behind the back of what is replayed.

export type PieceVisitor = (page: number, offset: number, len: number, at: number) => void;

/** Walks the first `bytes` of the program's memory; false when it cannot see them all. */
export function walkUser(
  memory: CaseMemory,
  iovec: Iovec,
  bytes: number,
  visit: PieceVisitor,
): boolean {
  let at = 0;
  for (let row = 0; row < iovec.rows && at < bytes; row++) {
    const want = Math.min(iovec.len[row], bytes - at);
    for (let done = 0; done < want; ) {
      const addr = iovec.base[row] + done;
      const page = memory.space.pageAt(addr, Access.READ);
      if (page < 0) return false;
      const offset = addr % PAGE_BYTES;
      const len = Math.min(PAGE_BYTES - offset, want - done);
      visit(page, offset, len, at + done);
      done += len;
    }
    at += want;
  }
  return at === bytes;
}

/** The program's bytes as it sees them; null where it cannot. */
export function userBytes(memory: CaseMemory, iovec: Iovec, bytes: number): Uint8Array | null {
  const out = new Uint8Array(bytes);
  const isSeen = walkUser(memory, iovec, bytes, (page, offset, len, at) => {
    copyOut(out, at, page, offset, len);
  });
  return isSeen ? out : null;
}
