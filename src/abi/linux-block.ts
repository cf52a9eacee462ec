// linux/fs.h: ioctls of block devices. The numbers of _IO and _IOR as on x86, arm64, riscv and
// loongarch; the door opens on no other architecture.

/** int: bytes of a logical block. */
export const BLKSSZGET = 0x1268;
/** unsigned int: bytes of a physical block. */
export const BLKPBSZGET = 0x127b;
/** u64: bytes of the device. */
export const BLKGETSIZE64 = 0x80081272;
/** u16: 1 = a disk that turns. */
export const BLKROTATIONAL = 0x127e;
/** u64[2] = { start, bytes }. */
export const BLKDISCARD = 0x1277;
/** u64[2] = { start, bytes }: the kernel writes zeros itself where the device cannot. */
export const BLKZEROOUT = 0x127f;
