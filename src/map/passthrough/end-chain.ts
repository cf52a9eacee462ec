import { assert } from '../../base/assert.ts';
import { SECTOR_BYTES } from '../../base/units.ts';
import { type Bio, BioState, endBio } from '../../bio/bio.ts';
import type { BioChain } from './bio-chain.ts';

// What a request does to its bios. Those of a program have no endIo: they only become ENDED, and
// wait for their submitter to unmap them. Those of the driver end themselves.

/** The device gets the memory of `chain`. */
export function startChain(chain: BioChain): void {
  for (let bio = chain.bio; bio !== null; bio = bio.next) {
    assert(bio.state === BioState.BUILT, 'passthrough: a bio was sent twice');
    bio.state = BioState.SUBMITTED;
  }
}

/** The device has let go of it after `bytesDone` bytes, with 0 or -errno. */
export function endChain(chain: BioChain, status: number, bytesDone: number): void {
  assert(bytesDone <= chain.bytes, 'passthrough: the device did too much');
  let bio: Bio | null = chain.bio;
  while (bio !== null) {
    const { next }: Bio = bio;
    const end = bio.sector * SECTOR_BYTES + bio.size;
    bio.status = status;
    if (bytesDone < end) bio.shortAt = bytesDone;
    endOne(bio);
    bio = next;
  }
}

function endOne(bio: Bio): void {
  if (bio.endIo !== null) {
    endBio(bio);
    return;
  }
  assert(bio.state === BioState.SUBMITTED, 'passthrough: a bio ended twice');
  bio.remaining = 0;
  bio.state = BioState.ENDED;
}
