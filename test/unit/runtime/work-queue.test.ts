import fc from 'fast-check';
import { describe, expect, it, vi } from 'vitest';
import { PRIORITY, type Priority } from '../../../src/runtime/lane.ts';
import { Pace } from '../../../src/runtime/pace.ts';
import { type Result, WorkQueue } from '../../../src/runtime/work-queue.ts';
import { createFakeClock, settle } from '../../support/fake-clock.ts';

const DONE: Result = { kind: 'done' };

/** A queue whose runs last until the test ends them. */
function start() {
  const clock = createFakeClock();
  const pace = new Pace(clock);
  const onError = vi.fn<(key: string, error: unknown) => void>();
  const backoffMs = vi.fn((failures: number) => 100 * failures);
  const onBegin = vi.fn();
  const onIdle = vi.fn<(lane: string) => void>();
  /** Keys of all started runs, in order. */
  const began: string[] = [];
  const running = new Map<string, { readonly signal: AbortSignal; end: (result: Result | Error) => void }>();
  const queue = new WorkQueue({
    clock,
    onError,
    onBegin,
    onIdle,
    pace,
    backoffMs,
    run: (key, signal) =>
      new Promise((resolve, reject) => {
        if (running.has(key)) throw new Error(`${key} runs twice at once`);
        began.push(key);
        running.set(key, {
          signal,
          end(result) {
            running.delete(key);
            if (result instanceof Error) reject(result);
            else resolve(result);
          },
        });
      }),
  });
  const end = async (key: string, result: Result | Error = DONE) => {
    const run = running.get(key);
    if (run === undefined) throw new Error(`${key} does not run`);
    run.end(result);
    await settle();
  };
  return { queue, clock, pace, onError, onBegin, onIdle, backoffMs, began, running, end };
}

it('reports the wait time of each key, and the depth of each lane', async () => {
  const { queue, clock, onBegin, end } = start();
  for (const lane of ['one', 'two']) queue.setConcurrency(lane, 1);
  queue.add('a', 'one', PRIORITY.spec);
  queue.add('b', 'one', PRIORITY.spec);
  queue.add('c', 'two', PRIORITY.spec);
  await settle();
  await clock.advance(30);
  // Added again while it runs, so its wait time starts now.
  queue.add('a', 'one', PRIORITY.spec);
  expect([...queue.depths()]).toEqual([
    ['one', 2],
    ['two', 1],
  ]);
  await clock.advance(10);
  await end('a');
  await end('b');
  await end('a');
  await end('c');
  expect(onBegin.mock.calls).toEqual([
    ['one', 0],
    ['two', 0],
    ['one', 40],
    ['one', 10],
  ]);
  expect([...queue.depths()]).toEqual([
    ['one', 0],
    ['two', 0],
  ]);
});

describe('key', () => {
  it('does not run synchronously when it is added', async () => {
    const { queue, began } = start();
    queue.add('a', 'lane', PRIORITY.spec);
    expect(began).toEqual([]);
    await settle();
    expect(began).toEqual(['a']);
  });

  it('runs once, however often it was added', async () => {
    const { queue, began, end } = start();
    for (const priority of [0, 0, 1, 2, 1, 0] as const) queue.add('a', 'lane', priority);
    await settle();
    await end('a');
    expect(began).toEqual(['a']);
    expect(depthOf(queue)).toBe(0);
  });

  it('runs once more after its run if it was added while it ran', async () => {
    const { queue, began, end } = start();
    queue.setConcurrency('lane', 4);
    queue.add('a', 'lane', PRIORITY.spec);
    await settle();
    for (const priority of [0, 1, 2] as const) queue.add('a', 'lane', priority);
    await settle();
    expect(began).toEqual(['a']);
    await end('a');
    expect(began).toEqual(['a', 'a']);
    await end('a');
    expect(began).toEqual(['a', 'a']);
  });

  it.each<[string, Result | Error]>([
    ['asked for a delay', { kind: 'after', delayMs: 1000 }],
    ['failed', { kind: 'backoff' }],
    ['rejected', new Error('x')],
  ])('runs again immediately if it was added while it ran, even if the run %s', async (_, result) => {
    const { queue, began, end } = start();
    queue.add('a', 'lane', PRIORITY.spec);
    await settle();
    queue.add('a', 'lane', PRIORITY.spec);
    await end('a', result);
    expect(began).toEqual(['a', 'a']);
  });

  it('has a signal that aborts when the queue is drained', async () => {
    const { queue, running, end } = start();
    queue.add('a', 'lane', PRIORITY.spec);
    await settle();
    const signal = running.get('a')?.signal;
    expect(signal?.aborted).toBe(false);
    const drained = queue.drain();
    expect(signal?.aborted).toBe(true);
    await end('a');
    await drained;
  });
});

describe('priority', () => {
  it('determines the order, before the order of adding', async () => {
    const { queue, began, end } = start();
    queue.add('first', 'lane', PRIORITY.resync);
    await settle();
    for (const name of ['r1', 'r2']) queue.add(name, 'lane', PRIORITY.resync);
    for (const name of ['s1', 's2']) queue.add(name, 'lane', PRIORITY.spec);
    for (const name of ['e1', 'e2']) queue.add(name, 'lane', PRIORITY.endpoints);
    for (const name of ['first', 'e1', 'e2', 's1', 's2', 'r1', 'r2']) await end(name);
    expect(began).toEqual(['first', 'e1', 'e2', 's1', 's2', 'r1', 'r2']);
  });

  it('of a waiting key can be raised, but not lowered', async () => {
    const { queue, began, end } = start();
    queue.add('first', 'lane', PRIORITY.resync);
    await settle();
    queue.add('a', 'lane', PRIORITY.resync);
    queue.add('b', 'lane', PRIORITY.spec);
    queue.add('c', 'lane', PRIORITY.endpoints);
    queue.add('a', 'lane', PRIORITY.endpoints);
    queue.add('c', 'lane', PRIORITY.resync);
    expect(depthOf(queue)).toBe(4);
    for (const name of ['first', 'c', 'a', 'b']) await end(name);
    expect(began).toEqual(['first', 'c', 'a', 'b']);
    expect(depthOf(queue)).toBe(0);
  });

  it('is evaluated when a run starts, not when a key is added', async () => {
    const { queue, began, end } = start();
    queue.add('a', 'lane', PRIORITY.resync);
    // The lane is free, and no run has started yet.
    queue.add('b', 'lane', PRIORITY.spec);
    queue.add('c', 'lane', PRIORITY.endpoints);
    queue.add('a', 'lane', PRIORITY.endpoints);
    await settle();
    for (const name of ['c', 'a', 'b']) await end(name);
    expect(began).toEqual(['c', 'a', 'b']);
  });

  it('does not starve any key', async () => {
    const { queue, began, end } = start();
    queue.add('spec', 'lane', PRIORITY.spec);
    queue.add('resync', 'lane', PRIORITY.resync);
    queue.add('e0', 'lane', PRIORITY.endpoints);
    await settle();
    // When a run ends, the next endpoint change has already arrived.
    for (let n = 0; n < 40; n += 1) {
      queue.add(`e${n + 1}`, 'lane', PRIORITY.endpoints);
      await end(began.at(-1) ?? '');
    }
    expect(began.indexOf('spec')).toBe(7);
    expect(began.indexOf('resync')).toBe(15);
    expect(began.filter((key) => key.startsWith('e'))).toHaveLength(39);
  });

  it('applies to the next run if it is raised while the key runs', async () => {
    const { queue, began, end } = start();
    queue.add('a', 'lane', PRIORITY.resync);
    await settle();
    queue.add('b', 'lane', PRIORITY.spec);
    queue.add('a', 'lane', PRIORITY.resync);
    queue.add('a', 'lane', PRIORITY.endpoints);
    await end('a');
    expect(began).toEqual(['a', 'a']);
    await end('a');
    expect(began).toEqual(['a', 'a', 'b']);
  });
});

describe('lane', () => {
  it('has its own concurrency, and does not affect other lanes if it hangs', async () => {
    const { queue, began, end } = start();
    queue.setConcurrency('down', 2);
    for (let index = 0; index < 5; index += 1) queue.add(`down ${index}`, 'down', PRIORITY.spec);
    queue.add('up 0', 'up', PRIORITY.resync);
    queue.add('up 1', 'up', PRIORITY.resync);
    await settle();
    expect(began).toEqual(['down 0', 'down 1', 'up 0']);
    await end('up 0');
    await end('up 1');
    expect(began).toEqual(['down 0', 'down 1', 'up 0', 'up 1']);
    await end('down 1');
    expect(began.at(-1)).toBe('down 2');
  });

  it('applies a change of its concurrency immediately', async () => {
    const { queue, began, running, end } = start();
    for (let index = 0; index < 5; index += 1) queue.add(`${index}`, 'lane', PRIORITY.spec);
    await settle();
    expect(running.size).toBe(1);
    queue.setConcurrency('lane', 3);
    await settle();
    expect(running.size).toBe(3);
    queue.setConcurrency('lane', 1);
    await end('0');
    await end('1');
    expect(began).toEqual(['0', '1', '2']);
    await end('2');
    expect(began).toEqual(['0', '1', '2', '3']);
  });

  it('is slow while urgent events arrive, and returns to its usual concurrency after that', async () => {
    const { clock, pace, queue, running, end } = start();
    queue.setConcurrency('slows', 4, { slow: 1 });
    queue.setConcurrency('goes on', 2);
    for (const lane of ['slows', 'goes on']) {
      for (let n = 0; n < 9; n += 1) queue.add(`${lane} ${n}`, lane, PRIORITY.spec);
    }
    const runs = (lane: string) => [...running.keys()].filter((key) => key.startsWith(lane)).length;
    await settle();
    expect([runs('slows'), runs('goes on')]).toEqual([4, 2]);
    pace.urge();
    for (const key of [...running.keys()]) await end(key);
    expect([runs('slows'), runs('goes on')]).toEqual([1, 2]);
    queue.setConcurrency('slows', 3, { slow: 2 });
    await settle();
    expect(runs('slows')).toBe(2);
    await clock.advance(500);
    expect([runs('slows'), runs('goes on')]).toEqual([3, 2]);
  });

  it('does not exceed its usual concurrency while it is slow', async () => {
    const { pace, queue, running } = start();
    queue.setConcurrency('lane', 1, { slow: 2 });
    pace.urge();
    for (const key of ['a', 'b']) queue.add(key, 'lane', PRIORITY.spec);
    await settle();
    expect([...running.keys()]).toEqual(['a']);
  });

  it('reserves slots for endpoint changes', async () => {
    const { queue, began, running, end } = start();
    queue.setConcurrency('lane', 3, { reserved: 1 });
    for (const name of ['a', 'b', 'c']) queue.add(name, 'lane', PRIORITY.spec);
    await settle();
    expect([...running.keys()]).toEqual(['a', 'b']);
    queue.add('e1', 'lane', PRIORITY.endpoints);
    queue.add('e2', 'lane', PRIORITY.endpoints);
    await settle();
    expect([...running.keys()]).toEqual(['a', 'b', 'e1']);
    for (const name of ['a', 'e1', 'b', 'e2', 'c']) await end(name);
    expect(began).toEqual(['a', 'b', 'e1', 'e2', 'c']);
  });

  it.each([
    [2, 1],
    [4, 1],
  ])(
    'runs a spec change during constant endpoint changes, with %i slots of which %i is reserved',
    async (slots, reserved) => {
      const { queue, began, running, end } = start();
      queue.setConcurrency('lane', slots, { reserved });
      // Each flapping endpoint changes again while its write is in flight.
      const flap = (name: string) => queue.add(name, 'lane', PRIORITY.endpoints);
      const names = Array.from({ length: 10 }, (_, index) => `flaps ${index}`);
      for (const name of names) flap(name);
      queue.add('resync', 'lane', PRIORITY.resync);
      queue.add('spec 1', 'lane', PRIORITY.spec);
      queue.add('spec 2', 'lane', PRIORITY.spec);
      await settle();
      for (let round = 0; round < 40; round += 1) {
        const [key] = [...running.keys()];
        if (key === undefined) break;
        if (names.includes(key)) flap(key);
        await end(key);
      }
      const turns = ['resync', 'spec 1', 'spec 2'].map((key) => began.indexOf(key));
      expect(turns.every((turn) => turn >= 0)).toBe(true);
      // Only every eighth run.
      expect(turns.every((turn) => (turn + 1) % 8 === 0)).toBe(true);
    },
  );

  it('keeps a fair turn due while the slots that are open to all keys are in use', async () => {
    const { queue, began, running, end } = start();
    queue.setConcurrency('lane', 2, { reserved: 1 });
    queue.add('slow', 'lane', PRIORITY.spec);
    await settle();
    const flap = (name: string) => queue.add(name, 'lane', PRIORITY.endpoints);
    for (let index = 0; index < 5; index += 1) flap(`flaps ${index}`);
    queue.add('spec', 'lane', PRIORITY.spec);
    await settle();
    for (let round = 0; round < 20; round += 1) {
      const key = [...running.keys()].find((name) => name !== 'slow');
      if (key === undefined) break;
      flap(key);
      await end(key);
    }
    expect(began).not.toContain('spec');
    await end('slow');
    expect(began.at(-1)).toBe('spec');
  });

  it('takes over a key that waits in another lane, with the higher priority of both', async () => {
    const { queue, began, end, onIdle } = start();
    queue.setConcurrency('two', 1);
    for (const [lane, name] of [
      ['one', 'hangs'],
      ['two', 'first'],
    ] as const) {
      queue.add(name, lane, PRIORITY.spec);
    }
    await settle();
    queue.add('a', 'one', PRIORITY.endpoints);
    queue.add('b', 'two', PRIORITY.resync);
    queue.add('a', 'two', PRIORITY.resync);
    expect(Object.fromEntries(queue.depths())).toEqual({ one: 1, two: 3 });
    await end('first');
    await end('a');
    await end('b');
    await end('hangs');
    expect(began.toSorted()).toEqual(['a', 'b', 'first', 'hangs']);
    expect(began.slice(2)).toEqual(['a', 'b']);
    expect(onIdle.mock.calls).toEqual([['one']]);
  });

  it('is dropped when it is idle, unless its concurrency was set', async () => {
    const { queue, onIdle, end } = start();
    queue.setConcurrency('kept', 1);
    queue.add('a', 'kept', PRIORITY.spec);
    queue.add('b', 'other', PRIORITY.spec);
    queue.add('c', 'other', PRIORITY.spec);
    await settle();
    await end('a');
    await end('b');
    expect([...queue.depths().keys()]).toEqual(['kept', 'other']);
    await end('c');
    expect([...queue.depths().keys()]).toEqual(['kept']);
    expect(onIdle.mock.calls).toEqual([['other']]);
  });

  it('is dropped after its last run if it was released', async () => {
    const { queue, onIdle, end, began } = start();
    for (const lane of ['busy', 'idle']) queue.setConcurrency(lane, 2);
    queue.add('a', 'busy', PRIORITY.spec);
    await settle();
    queue.release('busy');
    queue.release('idle');
    queue.release('unknown');
    expect([...queue.depths()]).toEqual([['busy', 1]]);
    await end('a');
    expect([...queue.depths()]).toEqual([]);
    expect(onIdle.mock.calls).toEqual([['idle'], ['busy']]);
    // It can be used again.
    queue.add('a', 'busy', PRIORITY.spec);
    await settle();
    await end('a');
    expect(began).toEqual(['a', 'a']);
    expect([...queue.depths()]).toEqual([]);
  });

  it('takes over a running key of another lane for its next run', async () => {
    const { queue, began, end } = start();
    queue.add('a', 'one', PRIORITY.spec);
    queue.add('hangs', 'two', PRIORITY.spec);
    await settle();
    queue.add('a', 'two', PRIORITY.spec);
    await end('a');
    expect(began).toEqual(['a', 'hangs']);
    await end('hangs');
    expect(began).toEqual(['a', 'hangs', 'a']);
  });
});

describe('backoff', () => {
  it('grows with each consecutive failure and starts over after a success', async () => {
    const { queue, clock, backoffMs, began, end } = start();
    const fail: Result = { kind: 'backoff' };
    queue.add('a', 'lane', PRIORITY.spec);
    await settle();
    await end('a', fail);
    await clock.advance(99);
    expect(began).toHaveLength(1);
    await clock.advance(1);
    expect(began).toHaveLength(2);
    await end('a', fail);
    await clock.advance(199);
    expect(began).toHaveLength(2);
    await clock.advance(1);
    await end('a', DONE);
    queue.add('a', 'lane', PRIORITY.spec);
    await settle();
    await end('a', fail);
    expect(backoffMs.mock.calls).toEqual([[1], [2], [1]]);
  });

  it('starts over after a run that asks for a delay', async () => {
    const { queue, clock, backoffMs, end } = start();
    queue.add('a', 'lane', PRIORITY.spec);
    await settle();
    await end('a', { kind: 'backoff' });
    await clock.advance(100);
    await end('a', { kind: 'after', delayMs: 5 });
    await clock.advance(5);
    await end('a', { kind: 'backoff' });
    expect(backoffMs.mock.calls).toEqual([[1], [1]]);
  });

  it('continues to grow if the key was added in the meantime', async () => {
    const { queue, backoffMs, end } = start();
    queue.add('a', 'lane', PRIORITY.spec);
    await settle();
    await end('a', { kind: 'backoff' });
    queue.add('a', 'lane', PRIORITY.spec);
    await settle();
    await end('a', { kind: 'backoff' });
    expect(backoffMs.mock.calls).toEqual([[1], [2]]);
  });

  it('respects the maximum of a run', async () => {
    const { queue, clock, began, end } = start();
    queue.add('a', 'lane', PRIORITY.spec);
    await settle();
    await end('a', { kind: 'backoff', maxMs: 10 });
    await clock.advance(10);
    expect(began).toHaveLength(2);
  });

  it('treats a rejection and a throw as failures, and reports them', async () => {
    const clock = createFakeClock();
    const onError = vi.fn();
    const backoffMs = vi.fn((failures: number) => failures);
    const failures = [new Error('rejected'), new Error('thrown')];
    let runs = 0;
    const queue = new WorkQueue({
      clock,
      onError,
      backoffMs,
      run: () => {
        runs += 1;
        if (runs === 1) return Promise.reject(failures[0]);
        if (runs === 2) throw failures[1];
        return Promise.resolve(DONE);
      },
    });
    queue.add('a', 'lane', PRIORITY.spec);
    await settle();
    await clock.advance(1);
    await clock.advance(2);
    expect(runs).toBe(3);
    expect(onError.mock.calls).toEqual(failures.map((error) => ['a', error]));
    expect(backoffMs.mock.calls).toEqual([[1], [2]]);
  });
});

describe('addAfter', () => {
  it('runs a key after the delay, not earlier', async () => {
    const { queue, clock, began } = start();
    queue.addAfter('a', 100, 'lane', PRIORITY.resync);
    await clock.advance(99);
    expect(began).toEqual([]);
    expect(depthOf(queue)).toBe(0);
    await clock.advance(1);
    expect(began).toEqual(['a']);
  });

  it.each([
    ['later timer added second', [100, 200]],
    ['earlier timer added second', [200, 100]],
    ['equal timers', [100, 100]],
  ])('keeps the earliest of several timers: %s', async (_, delays) => {
    const { queue, clock, began, end } = start();
    for (const delayMs of delays) queue.addAfter('a', delayMs, 'lane', PRIORITY.resync);
    expect(clock.pending).toBe(1);
    await clock.advance(100);
    expect(began).toEqual(['a']);
    await end('a');
    await clock.advance(1000);
    expect(began).toEqual(['a']);
  });

  it('has no effect on a waiting key, and is replaced by add', async () => {
    const { queue, clock, began, end } = start();
    queue.addAfter('a', 100, 'lane', PRIORITY.resync);
    queue.add('a', 'lane', PRIORITY.spec);
    queue.addAfter('a', 50, 'lane', PRIORITY.resync);
    expect(clock.pending).toBe(0);
    await settle();
    await end('a');
    await clock.advance(1000);
    expect(began).toEqual(['a']);
  });

  it('during a run takes effect after it, if it is earlier than the delay of the run', async () => {
    const { queue, clock, began, end } = start();
    queue.add('a', 'lane', PRIORITY.spec);
    await settle();
    queue.addAfter('a', 10, 'lane', PRIORITY.resync);
    await end('a', { kind: 'after', delayMs: 1000 });
    await clock.advance(10);
    expect(began).toEqual(['a', 'a']);
    await end('a');
    await clock.advance(5000);
    expect(began).toEqual(['a', 'a']);
  });

  it('during a run is replaced by a later add', async () => {
    const { queue, clock, began, end } = start();
    queue.add('a', 'lane', PRIORITY.spec);
    await settle();
    queue.addAfter('a', 50, 'lane', PRIORITY.resync);
    await end('a');
    queue.add('a', 'lane', PRIORITY.spec);
    await settle();
    await end('a');
    await clock.advance(1000);
    expect(began).toEqual(['a', 'a']);
  });

  it('runs a key once more if its timer fires during a run', async () => {
    const { queue, clock, began, end } = start();
    queue.add('a', 'lane', PRIORITY.spec);
    await settle();
    queue.addAfter('a', 10, 'lane', PRIORITY.resync);
    await clock.advance(10);
    expect(began).toEqual(['a']);
    await end('a');
    expect(began).toEqual(['a', 'a']);
  });
});

describe('drain', () => {
  it('starts no new runs, drops timers, and resolves when the last run has ended', async () => {
    const { queue, clock, began, end } = start();
    queue.setConcurrency('lane', 2);
    for (const name of ['a', 'b', 'waits']) queue.add(name, 'lane', PRIORITY.spec);
    await settle();
    queue.add('b', 'lane', PRIORITY.spec);
    queue.add('starting', 'other', PRIORITY.spec);
    queue.addAfter('later', 10, 'lane', PRIORITY.resync);
    let drained = false;
    const draining = queue.drain().then(() => {
      drained = true;
    });
    queue.add('new', 'third', PRIORITY.spec);
    queue.addAfter('newer', 1, 'third', PRIORITY.spec);
    expect(clock.pending).toBe(0);
    await end('a', { kind: 'backoff' });
    expect(drained).toBe(false);
    await end('b', { kind: 'after', delayMs: 1 });
    await draining;
    await clock.advance(10_000);
    expect(began).toEqual(['a', 'b']);
    expect(clock.pending).toBe(0);
  });

  it('does not report runs that reject because of the abort', async () => {
    const { queue, onError, end } = start();
    queue.add('a', 'lane', PRIORITY.spec);
    queue.add('b', 'lane', PRIORITY.spec);
    await settle();
    const draining = queue.drain();
    await end('a', new Error('aborted'));
    await draining;
    expect(onError).not.toHaveBeenCalled();
  });

  it('resolves for an idle queue, also if called twice', async () => {
    const { queue } = start();
    await queue.drain();
    await queue.drain();
  });
});

describe('random sequence of operations', () => {
  const KEYS = ['a', 'b', 'c', 'd', 'e'];
  const LANES: Readonly<Record<string, number>> = { one: 1, two: 2 };
  const laneOf = (key: string) => (key < 'c' ? 'one' : 'two');

  const key = fc.constantFrom(...KEYS);
  const priority = fc.constantFrom<Priority>(0, 1, 2);
  const result = fc.constantFrom<Result | Error>(
    DONE,
    { kind: 'after', delayMs: 50 },
    { kind: 'backoff' },
    { kind: 'backoff', maxMs: 20 },
    new Error('x'),
  );
  const operation = fc.oneof(
    fc.record({ kind: fc.constant('add' as const), key, priority }),
    fc.record({ kind: fc.constant('addAfter' as const), key, priority, delayMs: fc.nat(120) }),
    fc.record({ kind: fc.constant('end' as const), key, result }),
    fc.record({ kind: fc.constant('advance' as const), ms: fc.nat(120) }),
    fc.record({ kind: fc.constant('settle' as const) }),
  );

  it('never runs a key twice at the same time or exceeds the concurrency of a lane, and runs every added key', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(operation, { maxLength: 60 }), async (operations) => {
        const { queue, clock, running, began, end } = start();
        for (const [lane, concurrency] of Object.entries(LANES)) queue.setConcurrency(lane, concurrency);
        /** Number of runs of a key that had started when it was last added. */
        const runsBeforeAdd = new Map<string, number>();
        const runsOf = (wanted: string) => began.filter((one) => one === wanted).length;
        const check = () => {
          for (const [lane, concurrency] of Object.entries(LANES)) {
            const busy = [...running.keys()].filter((one) => laneOf(one) === lane).length;
            expect(busy).toBeLessThanOrEqual(concurrency);
          }
        };
        for (const step of operations) {
          switch (step.kind) {
            case 'add':
              queue.add(step.key, laneOf(step.key), step.priority);
              runsBeforeAdd.set(step.key, runsOf(step.key));
              break;
            case 'addAfter':
              queue.addAfter(step.key, step.delayMs, laneOf(step.key), step.priority);
              break;
            case 'end':
              if (running.has(step.key)) await end(step.key, step.result);
              break;
            case 'advance':
              await clock.advance(step.ms);
              break;
            case 'settle':
              await settle();
              break;
            default:
              step satisfies never;
          }
          check();
        }
        await settle();
        // From here on every run succeeds, so that the queue becomes idle.
        for (let turn = 0; turn < 10 * KEYS.length && (running.size > 0 || clock.pending > 0); turn += 1) {
          for (const one of [...running.keys()]) await end(one);
          check();
          await clock.advance(1000);
        }
        expect([running.size, depthOf(queue), clock.pending]).toEqual([0, 0, 0]);
        for (const [one, before] of runsBeforeAdd) expect(runsOf(one)).toBeGreaterThan(before);
      }),
      { numRuns: 400 },
    );
  }, 60_000);
});

it('runs 100,000 keys, the more urgent ones first', async () => {
  const count = 100_000;
  let runs = 0;
  const first: string[] = [];
  const done = Promise.withResolvers<void>();
  const queue = new WorkQueue({
    clock: createFakeClock(),
    backoffMs: () => 1,
    onError: (_, error) => done.reject(error),
    run: async (key) => {
      runs += 1;
      if (first.length < 11) first.push(key);
      if (runs === count) done.resolve();
      return DONE;
    },
  });
  queue.setConcurrency('lane', 8);
  for (let index = 0; index < count; index += 1) queue.add(`${index}`, 'lane', PRIORITY.resync);
  for (let index = 0; index < 3; index += 1) queue.add(`${count - 1 - index}`, 'lane', PRIORITY.spec);
  expect(depthOf(queue)).toBe(count);
  await done.promise;
  await settle();
  expect(runs).toBe(count);
  expect(depthOf(queue)).toBe(0);
  expect(first).toEqual(['99999', '99998', '99997', '0', '1', '2', '3', '4', '5', '6', '7']);
}, 60_000);

it('does not starve a lane while another one has many long runs', async () => {
  const began: string[] = [];
  let now = 0;
  const queue = new WorkQueue({
    clock: { ...createFakeClock(), monotonic: () => now },
    onError: vi.fn(),
    backoffMs: () => 0,
    run: async (key) => {
      began.push(key);
      // Every run takes longer than a turn.
      now += 100;
      return DONE;
    },
  });
  for (let key = 0; key < 50; key += 1) queue.add(`long ${key}`, 'long', PRIORITY.endpoints);
  for (let key = 0; key < 5; key += 1) queue.add(`short ${key}`, 'short', PRIORITY.resync);
  await vi.waitFor(() => expect(began).toHaveLength(55));
  expect(began.indexOf('short 4')).toBeLessThan(20);
});

it('runs an urgent key before keys that wait for a turn', async () => {
  const began: string[] = [];
  let now = 0;
  const queue = new WorkQueue({
    clock: { ...createFakeClock(), monotonic: () => now },
    onError: vi.fn(),
    backoffMs: () => 0,
    run: async (key) => {
      began.push(key);
      now += 100;
      return DONE;
    },
  });
  queue.setConcurrency('lane', 8);
  for (let key = 0; key < 20; key += 1) queue.add(`${key}`, 'lane', PRIORITY.resync);
  await vi.waitFor(() => expect(began.length).toBeGreaterThan(0));
  const before = began.length;
  queue.add('urgent', 'lane', PRIORITY.endpoints);
  await vi.waitFor(() => expect(began).toHaveLength(21));
  expect(began.indexOf('urgent')).toBeLessThanOrEqual(before + 1);
});

it('yields to the event loop between runs without I/O', async () => {
  let now = 0;
  const began: string[] = [];
  const queue = new WorkQueue({
    // Each call advances the clock by 5 ms.
    clock: {
      ...createFakeClock(),
      monotonic: () => {
        now += 5;
        return now;
      },
    },
    onError: vi.fn(),
    backoffMs: () => 0,
    run: async (key) => {
      began.push(key);
      return DONE;
    },
  });
  for (let key = 0; key < 40; key += 1) queue.add(`${key}`, 'lane', PRIORITY.spec);
  await new Promise((resolve) => setImmediate(resolve));
  expect(began.length).toBeGreaterThan(0);
  expect(began.length).toBeLessThan(40);
  await vi.waitFor(() => expect(began).toHaveLength(40));
});

function depthOf(queue: WorkQueue): number {
  return [...queue.depths().values()].reduce((sum, depth) => sum + depth, 0);
}
