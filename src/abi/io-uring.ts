// linux/io_uring.h and asm-generic/unistd.h. The same on every architecture of the door.

export const SYS_io_uring_setup = 425;
export const SYS_io_uring_enter = 426;
export const SYS_io_uring_register = 427;

export const IORING_SETUP_CQSIZE = 1 << 3;
export const IORING_SETUP_CLAMP = 1 << 4;
/** Since Linux 5.18. */
export const IORING_SETUP_SUBMIT_ALL = 1 << 7;
/** Since Linux 5.19. */
export const IORING_SETUP_COOP_TASKRUN = 1 << 8;
/** Since Linux 5.19. */
export const IORING_SETUP_TASKRUN_FLAG = 1 << 9;
/** Since Linux 6.0. */
export const IORING_SETUP_SINGLE_ISSUER = 1 << 12;
/** Since Linux 6.1. */
export const IORING_SETUP_DEFER_TASKRUN = 1 << 13;
/** Since Linux 6.6. */
export const IORING_SETUP_NO_SQARRAY = 1 << 16;

export const IORING_FEAT_SINGLE_MMAP = 1 << 0;
export const IORING_FEAT_NODROP = 1 << 1;
export const IORING_FEAT_SUBMIT_STABLE = 1 << 2;
/** Since Linux 5.11. */
export const IORING_FEAT_EXT_ARG = 1 << 8;
/** Since Linux 6.14: metadata beside the data of a read or write. */
export const IORING_FEAT_RW_ATTR = 1 << 16;

/** struct io_uring_params: its size and the offsets that we read and write, bytes. */
export const SIZEOF_io_uring_params = 120;
export const OFFSETOF_params_sq_entries = 0;
export const OFFSETOF_params_cq_entries = 4;
export const OFFSETOF_params_flags = 8;
export const OFFSETOF_params_features = 20;
/** struct io_sqring_offsets: head, tail, ring_mask, ring_entries, flags, dropped, array. */
export const OFFSETOF_params_sq_off = 40;
export const OFFSETOF_sq_off_head = 0;
export const OFFSETOF_sq_off_tail = 4;
export const OFFSETOF_sq_off_ring_mask = 8;
export const OFFSETOF_sq_off_flags = 16;
export const OFFSETOF_sq_off_array = 24;
/** struct io_cqring_offsets: head, tail, ring_mask, ring_entries, overflow, cqes, flags. */
export const OFFSETOF_params_cq_off = 80;
export const OFFSETOF_cq_off_head = 0;
export const OFFSETOF_cq_off_tail = 4;
export const OFFSETOF_cq_off_ring_mask = 8;
export const OFFSETOF_cq_off_cqes = 20;
export const OFFSETOF_cq_off_flags = 24;

export const IORING_OFF_SQ_RING = 0;
export const IORING_OFF_SQES = 0x10000000;

export const SIZEOF_io_uring_sqe = 64;
export const SIZEOF_io_uring_cqe = 16;

export const IORING_OP_NOP = 0;
export const IORING_OP_READV = 1;
export const IORING_OP_WRITEV = 2;
export const IORING_OP_FSYNC = 3;
export const IORING_OP_READ_FIXED = 4;
export const IORING_OP_WRITE_FIXED = 5;
export const IORING_OP_POLL_ADD = 6;
export const IORING_OP_ASYNC_CANCEL = 14;
export const IORING_OP_LINK_TIMEOUT = 15;
export const IORING_OP_FALLOCATE = 17;
export const IORING_OP_READ = 22;
export const IORING_OP_WRITE = 23;
/** Since Linux 6.15. */
export const IORING_OP_READV_FIXED = 60;
export const IORING_OP_WRITEV_FIXED = 61;

export const IOSQE_FIXED_FILE = 1 << 0;
/** The next entry belongs to this one. */
export const IOSQE_IO_LINK = 1 << 2;
export const IOSQE_ASYNC = 1 << 4;

export const IORING_FSYNC_DATASYNC = 1 << 0;
/** linux/fs.h: the write is on the medium when it completes. */
export const RWF_DSYNC = 0x00000002;

export const IORING_POLL_ADD_MULTI = 1 << 0;
export const POLLIN = 1;

export const IORING_SQ_CQ_OVERFLOW = 1 << 1;
export const IORING_SQ_TASKRUN = 1 << 2;
export const IORING_CQ_EVENTFD_DISABLED = 1 << 0;

export const IORING_ENTER_GETEVENTS = 1 << 0;
export const IORING_ENTER_EXT_ARG = 1 << 3;
/** Since Linux 5.18. */
export const IORING_ENTER_REGISTERED_RING = 1 << 4;

/** struct io_uring_getevents_arg { u64 sigmask; u32 sigmask_sz; u32 pad; u64 ts; } */
export const SIZEOF_io_uring_getevents_arg = 24;

export const IORING_UNREGISTER_BUFFERS = 1;
export const IORING_REGISTER_EVENTFD = 4;
export const IORING_UNREGISTER_EVENTFD = 5;
export const IORING_REGISTER_FILES_UPDATE = 6;
export const IORING_REGISTER_PROBE = 8;
/** Since Linux 5.13; sparse tables since 5.19. */
export const IORING_REGISTER_FILES2 = 13;
export const IORING_REGISTER_BUFFERS2 = 15;
export const IORING_REGISTER_BUFFERS_UPDATE = 16;
export const IORING_REGISTER_RING_FDS = 20;
export const IORING_UNREGISTER_RING_FDS = 21;
/** struct io_uring_rsrc_update { u32 offset; u32 resv; u64 data; } */
export const SIZEOF_io_uring_rsrc_update = 16;

export const IORING_RSRC_REGISTER_SPARSE = 1 << 0;
/** struct io_uring_rsrc_register { u32 nr; u32 flags; u64 resv2; u64 data; u64 tags; } */
export const SIZEOF_io_uring_rsrc_register = 32;
/** struct io_uring_rsrc_update2 { u32 offset; u32 resv; u64 data; u64 tags; u32 nr; u32 resv2; } */
export const SIZEOF_io_uring_rsrc_update2 = 32;

export const IO_URING_OP_SUPPORTED = 1 << 0;
/** struct io_uring_probe: 16 bytes, then 8 for each op: op, resv, u16 flags, u32 resv2. */
export const SIZEOF_io_uring_probe = 16;
export const SIZEOF_io_uring_probe_op = 8;

/** sys/eventfd.h */
export const EFD_CLOEXEC = 0o2000000;
export const EFD_NONBLOCK = 0o4000;
