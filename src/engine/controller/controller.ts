import { type CommandPointer, ControllerView } from '../../dma/controller-view.ts';
import type { DmaDevice } from '../../dma/dma-device.ts';
import { DmaPerm } from '../../dma/dma-status.ts';
import type { NvmeStatus } from '../../dma/nvme-pointer.ts';

/** What a controller is told: where on the medium, how much, and a pointer to memory. */
export interface ControllerCommand {
  readonly isWrite: boolean;
  /** Byte of the medium. */
  readonly start: number;
  readonly bytes: number;
  readonly pointer: CommandPointer;
}

/** What a controller keeps its bytes in; a `RamStore` is one. */
export interface ControllerMedium {
  /** Medium → page frames. */
  read(at: number, page: number, offset: number, bytes: number): void;
  /** Page frames → medium. */
  write(at: number, page: number, offset: number, bytes: number): void;
}

/**
 * The device side: it knows the medium and the fields of a command, and nothing of requests, bios
 * or pages of programs. Every byte that it moves goes through the pointer's lists and through the
 * translation of its `DmaDevice`.
 */
export class Controller {
  /** Bytes that it moved of the last command. */
  bytesDone = 0;
  /** With DATA_TRANSFER_ERROR: the address that led nowhere. */
  faultAddress = 0;
  readonly #view: ControllerView;
  readonly #store: ControllerMedium;

  constructor(device: DmaDevice, store: ControllerMedium, pageBytes: number) {
    this.#view = new ControllerView(device, pageBytes);
    this.#store = store;
  }

  /** One command to its end. Pre: it lies on the medium. */
  execute({ isWrite, start, bytes, pointer }: ControllerCommand): NvmeStatus {
    const view = this.#view;
    const store = this.#store;
    let done = 0;
    view.start(pointer, bytes, isWrite ? DmaPerm.READ : DmaPerm.WRITE);
    while (view.next()) {
      if (isWrite) store.write(start + done, view.page, view.offset, view.len);
      else store.read(start + done, view.page, view.offset, view.len);
      done += view.len;
    }
    this.bytesDone = done;
    this.faultAddress = view.faultAddress;
    return view.status;
  }
}
