import { formatSize } from '../../base/units.ts';
import type { CopyPhase, CopyWatcher } from './copy-job.ts';

export type ProgressStyle = 'auto' | 'json' | 'none';

/** As much of a terminal's stream as a bar needs. */
export interface ProgressOutput {
  readonly isTTY?: boolean | undefined;
  readonly columns?: number | undefined;
  write(text: string): unknown;
}

/** How far a phase is. */
export interface ProgressState {
  readonly phase: CopyPhase;
  readonly bytes: number;
  /** null: nobody knows. */
  readonly total: number | null;
  readonly seconds: number;
  /** Bytes a second, of the phase so far. */
  readonly rate: number;
  readonly etaSeconds: number | null;
}

const INTERVAL_MS = 100;
const BAR_CELLS_MAX = 30;
const COLUMNS_DEFAULT = 80;

/** Follows a copy job and draws it ten times a second: a bar, lines of JSON, or nothing. */
export class Progress implements CopyWatcher {
  readonly #output: ProgressOutput;
  readonly #style: 'bar' | 'json' | 'none';
  #phase: CopyPhase = 'copy';
  #total: number | null = null;
  #bytes = 0;
  #startMs = 0;
  #timer: NodeJS.Timeout | null = null;
  #drawn = 0;

  constructor(style: ProgressStyle, output: ProgressOutput) {
    this.#output = output;
    if (style === 'auto') this.#style = output.isTTY === true ? 'bar' : 'none';
    else this.#style = style;
  }

  start(phase: CopyPhase, total: number | null): void {
    this.#endPhase();
    this.#phase = phase;
    this.#total = total;
    this.#bytes = 0;
    this.#startMs = performance.now();
    if (this.#style === 'none') return;
    this.#timer ??= setInterval(() => this.#draw(), INTERVAL_MS);
    this.#timer.unref();
  }

  advance(bytes: number): void {
    this.#bytes += bytes;
  }

  /** Takes the bar off the screen. */
  [Symbol.dispose](): void {
    this.#endPhase();
    if (this.#timer !== null) clearInterval(this.#timer);
    this.#timer = null;
    this.#clear();
  }

  /** The last state of a phase goes out as a line too, so that a reader sees 100 %. */
  #endPhase(): void {
    if (this.#timer !== null && this.#style === 'json') this.#draw();
  }

  #state(): ProgressState {
    const seconds = (performance.now() - this.#startMs) / 1000;
    const rate = seconds > 0 ? this.#bytes / seconds : 0;
    const left = this.#total === null ? null : this.#total - this.#bytes;
    const etaSeconds = left === null || rate === 0 ? null : left / rate;
    const { phase, bytes, total } = { phase: this.#phase, bytes: this.#bytes, total: this.#total };
    return { phase, bytes, total, seconds, rate, etaSeconds };
  }

  #draw(): void {
    const state = this.#state();
    if (this.#style === 'json') {
      this.#output.write(`${JSON.stringify({ type: 'progress', ...state })}\n`);
      return;
    }
    const line = barLine(state, this.#output.columns || COLUMNS_DEFAULT);
    this.#output.write(`\r${line.padEnd(this.#drawn)}`);
    this.#drawn = line.length;
  }

  #clear(): void {
    if (this.#drawn > 0) this.#output.write(`\r${' '.repeat(this.#drawn)}\r`);
    this.#drawn = 0;
  }
}

/** `copy  42 % ████████░░░░░░░░░░░░ 430 MiB of 1 GiB  1.9 GiB/s  0:01 left`. */
export function barLine(state: ProgressState, columns: number): string {
  const { phase, bytes, total, rate, etaSeconds } = state;
  if (phase === 'flush') return 'flush ...';
  const speed = `${formatSize(Math.round(rate))}/s`;
  if (total === null) return `${phase}  ${formatSize(bytes)}  ${speed}`;
  const part = total === 0 ? 1 : Math.min(bytes / total, 1);
  const percent = `${Math.floor(part * 100)}`.padStart(3);
  const eta = etaSeconds === null ? '' : `  ${formatTime(etaSeconds)} left`;
  const text = `${formatSize(bytes)} of ${formatSize(total)}  ${speed}${eta}`;
  const room = columns - phase.length - text.length - ' 100 %   '.length;
  const cells = Math.max(Math.min(room, BAR_CELLS_MAX), 0);
  const full = Math.round(part * cells);
  const bar = cells === 0 ? '' : `${'█'.repeat(full)}${'░'.repeat(cells - full)} `;
  return `${phase} ${percent} % ${bar}${text}`;
}

/** 75 → `1:15`; 4000 → `1:06:40`. */
export function formatTime(seconds: number): string {
  const whole = Math.ceil(seconds);
  const s = `${whole % 60}`.padStart(2, '0');
  const minutes = Math.floor(whole / 60);
  if (minutes < 60) return `${minutes}:${s}`;
  return `${Math.floor(minutes / 60)}:${`${minutes % 60}`.padStart(2, '0')}:${s}`;
}
