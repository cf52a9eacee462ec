import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { ringState } from '../../src/engine/uring/lane-facts.ts';
import { nodeEnv } from '../../src/node/node-env.ts';
import { RingPrograms, source } from './ring-process.ts';

// What a whole process does with the engine that `open` chooses: the ring where there is one. Where
// there is none, all of this holds for the file engine.

const HAS_RING = ringState(nodeEnv()).isAvailable;
const BLOCK = 4096;
const MIB = 2 ** 20;
const HEAD = `
  import { readdirSync, readlinkSync, readFileSync } from 'node:fs';
  import { Arena, open } from ${source('index.ts')};
  const arena = new Arena({ maxBytes: 16 << 20 });
  const links = () => readdirSync('/proc/self/fd').map((fd) => {
    try { return readlinkSync('/proc/self/fd/' + fd); } catch { return ''; }
  });`;

test('an open disk keeps no process alive, a transfer in flight does', async (t) => {
  const programs = new RingPrograms(t, MIB);
  const { code, stdout, stderr } = await programs.run(`${HEAD}
    const disk = await open(FILE);
    const buffer = arena.alloc(${BLOCK});
    for (let i = 0; i < 20; i++) await disk.read(buffer.bytes, { position: 0 });
    disk.flush().then(() => console.log('flushed'));
  `);
  assert.deepEqual({ code, stdout, stderr }, { code: 0, stdout: 'flushed\n', stderr: '' });
});

test('idle costs no CPU', async (t) => {
  const programs = new RingPrograms(t, MIB);
  const { stdout } = await programs.run(`${HEAD}
    const disk = await open(FILE);
    const buffer = arena.alloc(${BLOCK});
    for (let i = 0; i < 100; i++) await disk.read(buffer.bytes, { position: 0 });
    await new Promise((resolve) => setTimeout(resolve, 300));
    const before = process.cpuUsage();
    await new Promise((resolve) => setTimeout(resolve, 700));
    const { user, system } = process.cpuUsage(before);
    console.log(user + system);
    await disk.close();
  `);
  assert(Number(stdout) < 70_000, `${stdout} µs of CPU in 700 ms`);
});

test('opening and closing leaves no descriptor, mapping, thread or pinned page', async (t) => {
  const programs = new RingPrograms(t, MIB);
  const { stdout, stderr } = await programs.run(`${HEAD}
    const status = () => {
      const text = readFileSync('/proc/self/status', 'latin1');
      return Number(/^VmPin:\\s*(\\d+)/m.exec(text)?.[1] ?? 0);
    };
    const count = () => [
      links().length,
      readFileSync('/proc/self/maps', 'latin1').split('io_uring').length - 1,
      status(),
    ];
    const buffer = arena.alloc(${BLOCK});
    const cycle = async () => {
      const disk = await open(FILE, { direct: false });
      for (let i = 0; i < 20; i++) await disk.read(buffer.bytes, { position: 0 });
      disk.assertNothingOutstanding();
      during = status();
      await disk.close();
    };
    let during = 0;
    await cycle();
    const before = count();
    for (let i = 0; i < 60; i++) await cycle();
    const two = [await open(FILE), await open(FILE)];
    for (const disk of two) await disk.read(buffer.bytes, { position: 0 });
    for (const disk of two) await disk.close();
    await new Promise((resolve) => setTimeout(resolve, 50));
    console.log(JSON.stringify([before, during, count()]));
    buffer.release();
    arena.assertNothingOutstanding();
  `);
  assert.equal(stderr, '');
  const [before, during, after] = JSON.parse(stdout);
  assert.deepEqual(after, before);
  assert.equal(after[2], 0, 'KiB that are pinned');
  if (HAS_RING) assert(during >= 4096, 'nothing was registered, so nothing was tested');
});

/** Writes blocks for ever, each on the medium before its number is printed. */
const WRITER = `${HEAD}
  let throwAt = -1;
  const disk = await open(FILE);
  const buffers = Array.from({ length: 4 }, () => arena.alloc(${BLOCK}));
  let next = 0;
  const writer = async (buffer) => {
    for (;;) {
      const block = next++ % 256;
      buffer.bytes.fill(block + 1);
      await disk.write(buffer.bytes, 0, ${BLOCK}, block * ${BLOCK});
      process.stdout.write('block ' + block + '\\n');
      if (block === throwAt) setTimeout(() => { throw new Error('of the program'); }, 0);
    }
  };`;

function assertAcknowledged(stdout: string, file: string): void {
  const lines = stdout.split('\n').slice(0, -1); // The last one may be cut.
  const content = readFileSync(file);
  let blocks = 0;
  for (const line of lines) {
    const match = /^block (\d+)$/.exec(line);
    if (match === null) continue;
    const block = Number(match[1]);
    const bytes = content.subarray(block * BLOCK, (block + 1) * BLOCK);
    assert(
      bytes.equals(Buffer.alloc(BLOCK, block + 1)),
      `block ${block} was acknowledged and lost`,
    );
    blocks++;
  }
  assert(blocks > 8, 'too few blocks to tell anything');
}

for (const signal of ['SIGKILL', 'SIGTERM'] as const) {
  test(`${signal} during writes loses nothing acknowledged`, async (t) => {
    const programs = new RingPrograms(t, MIB);
    const writer = programs.start(`${WRITER} await Promise.all(buffers.map(writer));`);
    await writer.printed('block 40');
    writer.child.kill(signal);
    const ended = await writer.ended;
    assert.equal(ended.signal, signal);
    assertAcknowledged(ended.stdout, programs.file);
  });
}

test('an exception of the program during writes loses nothing acknowledged', async (t) => {
  const programs = new RingPrograms(t, MIB);
  const { code, stdout, stderr } = await programs.run(`${WRITER}
    throwAt = 40;
    await Promise.all(buffers.map(writer));
  `);
  assert.equal(code, 1);
  assert.match(stderr, /Error: of the program/);
  assertAcknowledged(stdout, programs.file);
});

test('a callback that throws is an uncaught exception, and takes nobody with it', async (t) => {
  // Confirmed: without #throwLater of the lane nobody hears of it.
  const programs = new RingPrograms(t, MIB);
  const { stdout, stderr } = await programs.run(`${HEAD}
    import { IovIter, IterDirection } from ${source('iter/iov-iter.ts')};
    import { BioOp } from ${source('bio/bio-op.ts')};
    const told = [];
    process.on('uncaughtException', (error, origin) => told.push(origin + ' ' + error.message));
    const disk = await open(FILE, { direct: false });
    const buffer = arena.alloc(${BLOCK});
    const start = (end) => {
      const iter = new IovIter();
      iter.initView(IterDirection.DEST, buffer.bytes);
      disk.device.transfer(BioOp.READ, 0, iter, ${BLOCK}, {}, end);
    };
    const bad = () => start(() => { throw new Error('of the program'); });
    bad();
    const good = disk.read(buffer.bytes, { position: 0 });
    bad();
    const { bytesRead } = await good;
    const again = (await disk.read(buffer.bytes, { position: 0 })).bytesRead;
    await new Promise((resolve) => setTimeout(resolve, 20));
    disk.assertNothingOutstanding();
    await disk.close();
    console.log(JSON.stringify([bytesRead, again, told]));
  `);
  assert.equal(stderr, '');
  const error = 'uncaughtException of the program';
  assert.deepEqual(JSON.parse(stdout), [BLOCK, BLOCK, [error, error]]);
});

test('children inherit nothing of the ring, and disturb nothing', async (t) => {
  const programs = new RingPrograms(t, MIB);
  const { stdout, stderr } = await programs.run(`${HEAD}
    import { execFileSync } from 'node:child_process';
    const disk = await open(FILE);
    const buffer = arena.alloc(${BLOCK});
    const read = async () => (await disk.read(buffer.bytes, { position: 0 })).bytesRead;
    for (let i = 0; i < 20; i++) await read();
    const pending = Array.from({ length: 8 }, read);
    const listed = execFileSync('ls', ['-l', '/proc/self/fd'], { encoding: 'utf8' });
    const done = await Promise.all(pending);
    console.log(JSON.stringify([/io_uring|eventfd/.test(listed), done, await read()]));
    await disk.close();
  `);
  assert.equal(stderr, '');
  assert.deepEqual(JSON.parse(stdout), [false, Array(8).fill(BLOCK), BLOCK]);
});

test('an open disk goes on when the process gives up its rights', async (t) => {
  const programs = new RingPrograms(t, MIB);
  const isRoot = process.getuid?.() === 0;
  const { stdout, stderr } = await programs.run(`${HEAD}
    import { chmodSync } from 'node:fs';
    chmodSync(FILE, 0o600);
    const disk = await open(FILE);
    const buffer = arena.alloc(${BLOCK});
    buffer.bytes.fill(7);
    if (${isRoot}) process.seteuid(65534);
    const { bytesWritten } = await disk.write(buffer.bytes, 0, ${BLOCK}, 0);
    await disk.flush();
    const { bytesRead } = await disk.read(buffer.bytes, { position: 0 });
    const again = await open(FILE).then((other) => other.close(), (error) => error.code);
    await disk.close();
    console.log(JSON.stringify([bytesWritten, bytesRead, again]));
  `);
  assert.equal(stderr, '');
  assert.deepEqual(JSON.parse(stdout), [BLOCK, BLOCK, isRoot ? 'EACCES' : null]);
});

const INDEX = source('index.ts').replaceAll('"', "'");
const LANE_STOP = source('node/lane-stop.ts').replaceAll('"', "'");

/** A program with a thread that reads; the thread throws after `throwAt` reads. */
const THREAD = (body: string, throwAt = 0): string => `
  import { Worker } from 'node:worker_threads';
  import { LaneStop } from ${source('node/lane-stop.ts')};
  const stop = LaneStop.create();
  process.on('exit', () => stop.stop());
  const worker = new Worker(\`
    const { parentPort, workerData } = require('node:worker_threads');
    (async () => {
      const { Arena, open } = await import(${INDEX});
      const { LaneStop, laneEnv } = await import(${LANE_STOP});
      const stop = LaneStop.from(workerData.stop);
      const arena = new Arena({ maxBytes: 1 << 20 });
      const disk = await open(workerData.file, { env: laneEnv(stop), engine: 'uring' });
      const buffer = arena.alloc(${BLOCK});
      let reads = 0;
      while (!stop.isStopped) {
        await disk.read(buffer.bytes, { position: (reads++ % 256) * ${BLOCK} });
        if (reads === 100) parentPort.postMessage(disk.device.engine.info.facts.ringWaits);
        if (reads === workerData.throwAt) throw new Error('of the thread');
      }
      await disk.close();
      parentPort.postMessage('closed after ' + (reads >= 100));
    })();
  \`, { eval: true, workerData: { stop: stop.handle, file: FILE, throwAt: ${throwAt} } });
  const said = [];
  worker.on('message', (text) => said.push(text));
  const exited = new Promise((resolve) => worker.on('exit', resolve));
  const reading = new Promise((resolve) => worker.once('message', resolve));
  ${body}`;

if (HAS_RING) {
  test('a thread that sleeps in the ring stops when it is told to', async (t) => {
    const programs = new RingPrograms(t, MIB);
    const { code, stdout, stderr } = await programs.run(
      THREAD(`await reading;
        stop.stop();
        console.log(JSON.stringify([await exited, said]));
        stop[Symbol.dispose]();`),
    );
    assert.deepEqual({ code, stderr }, { code: 0, stderr: '' });
    assert.deepEqual(JSON.parse(stdout), [0, ['thread', 'closed after true']]);
  });

  test('a thread that throws ends, and its error is told', async (t) => {
    const programs = new RingPrograms(t, MIB);
    const body = `worker.on('error', (error) => said.push(error.message));
      await exited;
      console.log(JSON.stringify(said));`;
    const { code, stdout, stderr } = await programs.run(THREAD(body, 200));
    assert.deepEqual({ code, stderr }, { code: 0, stderr: '' });
    assert.deepEqual(JSON.parse(stdout), ['thread', 'of the thread']);
  });

  for (const [how, body, code] of [
    ['process.exit', 'process.exit(3);', 3],
    ['an exception', `throw new Error('of the program');`, 1],
    ['terminate', 'await worker.terminate(); process.exitCode = 4;', 4],
    [
      'SIGTERM',
      `process.on('SIGTERM', () => process.exit(5)); process.kill(process.pid, 'SIGTERM');`,
      5,
    ],
  ] as const) {
    test(`the program ends by ${how} while a thread sleeps in the ring`, async (t) => {
      const programs = new RingPrograms(t, MIB);
      const start = performance.now();
      const ended = await programs.run(THREAD(`await reading; ${body}`));
      assert.equal(ended.code, code, ended.stderr);
      assert(performance.now() - start < 10_000, 'it took too long to end');
    });
  }
}
