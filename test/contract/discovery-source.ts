import { setTimeout as sleep } from 'node:timers/promises';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import type { Discovered } from '../../src/model/discovered.ts';
import type { DiscoverySource, SourceChange } from '../../src/sources/source.ts';
import { eventually } from '../support/eventually.ts';

/** One instance of a service. `leaving`: the registry announces that the instance will stop. */
export interface Instance {
  /** An IPv4 address. */
  readonly address: string;
  readonly state: 'ready' | 'notReady' | 'leaving';
}

/** A discovery source under test and the registry that it reads. */
export interface SourceHarness<Ref> extends AsyncDisposable {
  /** The source, not started yet. */
  readonly source: DiscoverySource<Ref>;
  /** Runs the source. Default: calls `source.run`. */
  run?(signal: AbortSignal): Promise<void>;
  /** A new reference to the service; every instance has port 8080. */
  ref(service: string): Ref;
  /** Sets all instances of the service in the registry. */
  register(service: string, instances: readonly Instance[]): Promise<void>;
  /** Removes the service. */
  remove(service: string): Promise<void>;
  /** The number of requests for the service. Absent if the source reads all services at once. */
  readonly requestsFor?: (service: string) => number;
  /** Secrets that no message may contain. */
  readonly secrets?: readonly string[];
}

export interface SourceConformance<Ref, Harness extends SourceHarness<Ref> = SourceHarness<Ref>> {
  readonly name: string;
  readonly create: () => Promise<Harness>;
  /**
   * Faults by name that prevent a complete answer. If the source runs, resolves after the source noticed the fault.
   * Disposing repairs the registry.
   */
  readonly faults: Readonly<Record<string, (harness: Harness) => Promise<AsyncDisposable>>>;
  /** The number of random histories. Default: 20. */
  readonly histories?: number;
  /**
   * When the source shows an instance that is leaving. `OnceListed`: only one that it has listed before, because the registry does
   * not list it otherwise. Default: `Always`.
   */
  readonly showsLeaving?: 'Always' | 'OnceListed';
}

const ready = (...addresses: readonly string[]): readonly Instance[] =>
  addresses.map((address) => ({ address, state: 'ready' }));

const A = '10.1.0.1';
const B = '10.1.0.2';
const C = '10.1.0.3';

/** The sorted `address:port state` of each endpoint, or the state of an incomplete answer. */
function endpointsOf(found: Discovered): readonly string[] | Discovered['state'] {
  if (found.state !== 'known') return found.state;
  return found.endpoints
    .map(({ address, port, ready: isReady, terminating }) => {
      const state = terminating ? 'leaving' : isReady ? 'ready' : 'notReady';
      return `${address}:${port} ${state}`;
    })
    .sort();
}

const expected = (instances: readonly Instance[]): readonly string[] =>
  instances.map(({ address, state }) => `${address}:8080 ${state}`).sort();

/**
 * The guarantees of every discovery source. During a fault, a source may keep its last complete answer if its protocol can
 * catch up afterwards, or answer `unknown`. It never gives an incomplete answer.
 */
export function testDiscoverySource<Ref, Harness extends SourceHarness<Ref>>(
  conformance: SourceConformance<Ref, Harness>,
): void {
  const { name, create, faults, histories = 20, showsLeaving = 'Always' } = conformance;
  describe(`${name} as a discovery source`, () => {
    let harness: Harness;
    let source: DiscoverySource<Ref>;
    let stop: AbortController;
    let running: Promise<void>;

    beforeEach(async () => {
      harness = await create();
      ({ source } = harness);
      stop = new AbortController();
      running = Promise.resolve();
    });

    afterEach(async () => {
      stop.abort();
      await running;
      await harness[Symbol.asyncDispose]();
    });

    const run = () => {
      running = harness.run?.(stop.signal) ?? source.run(stop.signal);
    };
    const read = (service: string) => source.read(harness.ref(service));
    const subscribe = (service: string, changed: (what: SourceChange) => void = () => undefined) =>
      source.subscribe(harness.ref(service), changed);
    const shows = (service: string, instances: readonly Instance[]) =>
      eventually(() => expect(endpointsOf(read(service))).toEqual(expected(instances)), { intervalMs: 2 });
    /** Watches a service for the rest of the test. Returns all answers. */
    const observe = (service: string): readonly Discovered[] => {
      const seen: Discovered[] = [];
      subscribe(service, () => seen.push(read(service)));
      return seen;
    };
    const exceptKnown = (answers: readonly Discovered[], ...complete: readonly (readonly Instance[])[]) => {
      const allowed = complete.map((instances) => expected(instances).join());
      return answers
        .filter(({ state }) => state !== 'unknown')
        .map(endpointsOf)
        .filter((endpoints) => typeof endpoints === 'string' || !allowed.includes(endpoints.join()));
    };

    describe('before the first answer', () => {
      it('answers unknown, as starting', async () => {
        await harness.register('web', ready(A));
        subscribe('web');
        expect(read('web')).toMatchObject({ state: 'unknown', beginning: true, message: /\S/ });
      });

      it('calls subscribers when the first answer is available', async () => {
        await harness.register('web', ready(A, B));
        const seen = observe('web');
        run();
        await eventually(() => expect(endpointsOf(seen.at(-1) as Discovered)).toEqual(expected(ready(A, B))));
      });

      it('goes from unknown directly to the complete answer', async () => {
        const many = ready(...Array.from({ length: 500 }, (_, n) => `10.2.${n >> 8}.${n & 255}`));
        await harness.register('web', many);
        const seen = observe('web');
        run();
        await shows('web', many);
        expect(exceptKnown(seen, many)).toEqual([]);
      });

      it.each(Object.entries(faults))('answers unknown, with the reason, while %s', async (_, begin) => {
        await harness.register('web', ready(A));
        subscribe('web');
        const fault = await begin(harness);
        run();
        await eventually(() => expect(read('web')).toMatchObject({ state: 'unknown', beginning: false }));
        await fault[Symbol.asyncDispose]();
        await shows('web', ready(A));
      });
    });

    describe('while it runs', () => {
      beforeEach(run);

      it('follows added, changed and removed instances', async () => {
        subscribe('web');
        for (const instances of [
          ready(A),
          ready(A, B),
          [...ready(A), { address: B, state: 'notReady' } as const],
          [...ready(A), { address: B, state: 'leaving' } as const],
          ready(A),
          ready(C),
        ]) {
          await harness.register('web', instances);
          await shows('web', instances);
        }
      });

      it('answers synchronously with the same object, and never changes it', async () => {
        subscribe('web');
        await harness.register('web', ready(A, B));
        await shows('web', ready(A, B));
        const first = read('web');
        const copy = structuredClone(first);
        expect(read('web')).toEqual(first);
        await harness.register('web', ready(C));
        await shows('web', ready(C));
        expect(first).toEqual(copy);
      });

      it('distinguishes a service without instances from one that was never registered', async () => {
        for (const service of ['web', 'never']) subscribe(service);
        await harness.register('web', ready(A));
        await shows('web', ready(A));
        await harness.register('web', []);
        await shows('web', []);
        await eventually(() => expect(read('never')).toMatchObject({ state: 'absent', message: /\S/ }));
      });

      it('reports no instances for a removed service', async () => {
        subscribe('web');
        await harness.register('web', ready(A));
        await shows('web', ready(A));
        await harness.remove('web');
        await eventually(() => {
          const found = endpointsOf(read('web'));
          expect(found === 'absent' || found.length === 0, `${found}`).toBe(true);
        });
        await harness.register('web', ready(B));
        await shows('web', ready(B));
      });

      it('keeps the basis of an answer if only instances change', async () => {
        subscribe('web');
        const basisOf = (found: Discovered) => (found.state === 'known' ? found.basis : undefined);
        await harness.register('web', ready(A, B));
        await shows('web', ready(A, B));
        const basis = basisOf(read('web'));
        await harness.register('web', ready(C));
        await shows('web', ready(C));
        expect(basis).toBeDefined();
        expect(basisOf(read('web'))).toBe(basis);
      });

      it('calls every subscriber of a service, with separate references', async () => {
        const listeners = Array.from({ length: 20 }, () => vi.fn());
        for (const listener of listeners) subscribe('web', listener);
        await harness.register('web', ready(A));
        await shows('web', ready(A));
        for (const listener of listeners) expect(listener).toHaveBeenCalled();
      });

      it('stops calling only a disposed subscriber', async () => {
        const leaves = vi.fn();
        const stays = vi.fn();
        const leaving = subscribe('web', leaves);
        subscribe('web', stays);
        await harness.register('web', ready(A));
        await shows('web', ready(A));
        leaving[Symbol.dispose]();
        leaving[Symbol.dispose]();
        leaves.mockClear();
        stays.mockClear();
        await harness.register('web', ready(B));
        await shows('web', ready(B));
        expect(stays).toHaveBeenCalled();
        expect(leaves).not.toHaveBeenCalled();
      });

      it('answers a new subscriber after the last one was disposed', async () => {
        await harness.register('web', ready(A));
        const leaving = subscribe('web');
        await shows('web', ready(A));
        leaving[Symbol.dispose]();
        await harness.register('web', ready(B));
        subscribe('web');
        await shows('web', ready(B));
      });

      it('lets a subscriber subscribe and dispose during a call', async () => {
        const second = vi.fn();
        const first: Disposable = subscribe('web', () => {
          first[Symbol.dispose]();
          subscribe('web', second);
        });
        await harness.register('web', ready(A));
        await shows('web', ready(A));
        await harness.register('web', ready(A, B));
        await shows('web', ready(A, B));
        expect(second).toHaveBeenCalled();
      });

      it('follows 500 services at once, and changes one without changing the others', async () => {
        const services = Array.from({ length: 500 }, (_, n) => `service-${n}`);
        const addressOf = (service: string) =>
          `10.3.${services.indexOf(service) >> 8}.${services.indexOf(service) & 255}`;
        await Promise.all(services.map((service) => harness.register(service, ready(addressOf(service)))));
        for (const service of services) subscribe(service);
        for (const service of services) await shows(service, ready(addressOf(service)));
        await harness.register('service-250', ready(C));
        await shows('service-250', ready(C));
        for (const service of services) {
          const [instances] = [service === 'service-250' ? ready(C) : ready(addressOf(service))];
          expect(endpointsOf(read(service))).toEqual(expected(instances));
        }
      });

      it('sends as many requests for 50 subscribers as for one', async ({ skip }) => {
        const { requestsFor } = harness;
        if (requestsFor === undefined) return skip('it asks for all services at once');
        for (const service of ['one', 'many']) await harness.register(service, ready(A));
        subscribe('one');
        for (let n = 0; n < 50; n += 1) subscribe('many');
        await eventually(() => expect(requestsFor('one')).toBeGreaterThanOrEqual(5));
        expect(requestsFor('many')).toBeLessThanOrEqual(2 * requestsFor('one') + 2);
      });

      it('finds addresses of other services', async () => {
        for (const service of ['web', 'other']) subscribe(service);
        await harness.register('web', ready(A, B));
        await harness.register('other', ready(B));
        await shows('web', ready(A, B));
        await shows('other', ready(B));
        const elsewhere = source.listedElsewhere([harness.ref('web')], new Set([A, B, C]));
        expect([...elsewhere]).toEqual([B]);
      });
    });

    describe('for an instance that is no longer listed', () => {
      beforeEach(run);

      const departure = (address: string) =>
        source.departure(harness.ref('web'), { kind: 'address', address });

      it.each([
        ['explained', 'leaving'],
        ['vanished', 'ready'],
        ['vanished', 'notReady'],
      ] as const)('says %s where the instance was %s', async (cause, state) => {
        subscribe('web');
        const instances: readonly Instance[] = [...ready(A), { address: B, state }];
        for (const listed of [ready(A, B), instances]) {
          await harness.register('web', listed);
          await shows('web', listed);
        }
        await harness.register('web', ready(A));
        await shows('web', ready(A));
        expect(departure(B)).toBe(cause);
      });

      it('answers unknown for an address that it never saw', async () => {
        subscribe('web');
        await harness.register('web', ready(A));
        await shows('web', ready(A));
        expect(departure(C)).toBe('unknown');
      });

      it('drops the removal of an instance that returned', async () => {
        subscribe('web');
        for (const instances of [
          ready(A, B),
          [...ready(A), { address: B, state: 'leaving' } as const],
          ready(A),
          ready(A, B),
          ready(A),
        ]) {
          await harness.register('web', instances);
          await shows('web', instances);
        }
        expect(departure(B)).toBe('vanished');
      });
    });

    describe.each(Object.entries(faults))('while %s', (_, begin) => {
      beforeEach(run);

      it('keeps the last complete answer or answers unknown, and gives the current one afterwards', async () => {
        const before = ready(A, B);
        const after = ready(B, C);
        await harness.register('web', before);
        const seen = observe('web');
        await shows('web', before);
        const fault = await begin(harness);
        const during = [read('web')];
        await eventually(() => expect(seen.at(-1)).toEqual(read('web')));
        await harness.register('web', after);
        for (let n = 0; n < 10; n += 1) {
          await sleep(10);
          during.push(read('web'));
        }
        expect(exceptKnown(during, before)).toEqual([]);
        for (const found of during) {
          // A source that has answered before must report the fault instead of starting.
          if (found.state === 'unknown') expect(found).toMatchObject({ beginning: false, message: /\S/ });
        }
        await fault[Symbol.asyncDispose]();
        await shows('web', after);
        expect(exceptKnown(seen, before, after).filter((found) => found !== 'absent')).toEqual([]);
      });

      it('reports no removal because of the fault', async () => {
        subscribe('web');
        await harness.register('web', ready(A, B));
        await shows('web', ready(A, B));
        await using _fault = await begin(harness);
        await sleep(50);
        expect(source.departure(harness.ref('web'), { kind: 'address', address: A })).not.toBe('explained');
      });

      it('reveals no secret', async () => {
        subscribe('web');
        await harness.register('web', ready(A));
        await shows('web', ready(A));
        await using _fault = await begin(harness);
        await sleep(50);
        const text = JSON.stringify(read('web'));
        for (const secret of harness.secrets ?? []) expect(text).not.toContain(secret);
      });
    });

    describe('in random histories', () => {
      type Step =
        | { readonly kind: 'register'; readonly service: string; readonly instances: readonly Instance[] }
        | { readonly kind: 'remove'; readonly service: string }
        | { readonly kind: 'fault'; readonly fault: string };
      const service = fc.constantFrom('web', 'api');
      const instances = fc.uniqueArray(
        fc.record({
          address: fc.constantFrom(A, B, C),
          state: fc.constantFrom('ready', 'notReady', 'leaving'),
        }) satisfies fc.Arbitrary<Instance>,
        { selector: ({ address }) => address },
      );
      const step: fc.Arbitrary<Step> = fc.oneof(
        { weight: 6, arbitrary: fc.record({ kind: fc.constant('register'), service, instances }) },
        { weight: 1, arbitrary: fc.record({ kind: fc.constant('remove'), service }) },
        {
          weight: 2,
          arbitrary: fc.record({
            kind: fc.constant('fault'),
            fault: fc.constantFrom(...Object.keys(faults)),
          }),
        },
      );

      /** Without instances whose showing depends on what the source saw before. */
      const comparable = (endpoints: ReturnType<typeof endpointsOf>) =>
        showsLeaving === 'Always' || typeof endpoints === 'string'
          ? endpoints
          : endpoints.filter((endpoint) => !endpoint.endsWith(' leaving'));

      async function replay(steps: readonly Step[]): Promise<void> {
        const wanted = new Map<string, readonly Instance[]>();
        /** The answer at the last call of the subscriber. */
        const told = new Map<string, Discovered>();
        using subscriptions = new DisposableStack();
        for (const one of ['web', 'api']) {
          told.set(one, read(one));
          subscriptions.use(subscribe(one, () => told.set(one, read(one))));
          await harness.register(one, []);
          wanted.set(one, []);
        }
        let fault: AsyncDisposable | undefined;
        for (const one of steps) {
          if (one.kind === 'register') {
            await harness.register(one.service, one.instances);
            wanted.set(one.service, one.instances);
          } else if (one.kind === 'remove') {
            await harness.remove(one.service);
            wanted.set(one.service, []);
          } else {
            await fault?.[Symbol.asyncDispose]();
            fault = await faults[one.fault]?.(harness);
          }
        }
        await fault?.[Symbol.asyncDispose]();
        for (const [one, list] of wanted) {
          await eventually(
            () => {
              const found = endpointsOf(read(one));
              expect(comparable(found === 'absent' ? [] : found)).toEqual(comparable(expected(list)));
            },
            { intervalMs: 2 },
          );
          expect(told.get(one), `the last call for ${one} came before its last change`).toEqual(read(one));
        }
      }

      it('calls subscribers after the last change', async () => {
        run();
        await fc.assert(
          fc.asyncProperty(fc.array(step, { maxLength: 8 }), (steps) => replay(steps)),
          { numRuns: histories },
        );
      }, 120_000);
    });

    describe('after it is stopped', () => {
      it('ends and calls no subscriber', async () => {
        run();
        const changed = vi.fn();
        subscribe('web', changed);
        await harness.register('web', ready(A));
        await shows('web', ready(A));
        stop.abort();
        await running;
        changed.mockClear();
        await harness.register('web', ready(B));
        await sleep(50);
        expect(changed).not.toHaveBeenCalled();
      });

      it('ends at once if its signal is already aborted', async () => {
        stop.abort();
        run();
        await running;
      });
    });
  });
}
