import { describe, expect, it } from 'vitest';
import { LEASE_SUCCESSOR_ANNOTATION } from '../../../../src/api/group.ts';
import { type TakenLease, takeLease } from '../../../../src/cli/uninstall/lease.ts';
import { KubeApiError } from '../../../../src/kube/kube-error.ts';
import type { KubeTransport } from '../../../../src/kube/transport.ts';
import { createFakeClock } from '../../../support/fake-clock.ts';

interface LeaseObject {
  readonly metadata: {
    readonly resourceVersion?: string;
    readonly annotations?: Readonly<Record<string, string>>;
  };
  readonly spec: { readonly holderIdentity: string; readonly [field: string]: unknown };
}

const unused = new AbortController().signal;
const spec = (holderIdentity: string) => ({
  holderIdentity,
  leaseDurationSeconds: 15,
  leaseTransitions: 3,
  renewTime: '2020-01-01T00:00:00.000000Z',
});

/** A Lease whose leader is simulated by the test. */
function stage(holder: string | undefined) {
  const clock = createFakeClock();
  const said: string[] = [];
  let version = 1;
  let lease: LeaseObject | undefined;
  const set = (next: LeaseObject) => {
    version += 1;
    lease = { ...next, metadata: { ...next.metadata, resourceVersion: `${version}` } };
  };
  if (holder !== undefined) set({ metadata: {}, spec: spec(holder) });
  let refusal: number | undefined;
  const transport: KubeTransport = {
    async get(path) {
      expect(path).toBe('/apis/coordination.k8s.io/v1/namespaces/own/leases/operator');
      if (refusal !== undefined) throw new KubeApiError('forbidden', { status: refusal });
      if (lease === undefined) throw new KubeApiError('there is none', { status: 404 });
      return lease;
    },
    async send({ method, body }) {
      if (lease === undefined) throw new KubeApiError('there is none', { status: 404 });
      if (method === 'DELETE') lease = undefined;
      else if (method === 'PATCH') {
        const { annotations } = (body as LeaseObject).metadata;
        set({ ...lease, metadata: { annotations: { ...lease.metadata.annotations, ...annotations } } });
      } else {
        const next = body as LeaseObject;
        if (next.metadata.resourceVersion !== lease.metadata.resourceVersion) {
          throw new KubeApiError('changed', { status: 409 });
        }
        set(next);
      }
      return lease;
    },
    async *watch() {},
    close: () => undefined,
  };
  let taken: TakenLease | undefined;
  let ended = false;
  return {
    clock,
    said,
    held: () => lease,
    set,
    clear: () => {
      lease = undefined;
    },
    allow: () => {
      refusal = undefined;
    },
    refuse: (status: number) => {
      refusal = status;
    },
    /** Calls `takeLease`; resolves after its first read. */
    async begin(timeoutMs = 300_000) {
      void takeLease(
        { transport, clock, print: (line) => said.push(line) },
        { namespace: 'own', leaseName: 'operator', timeoutMs },
        unused,
      ).then((result) => {
        taken = result;
        ended = true;
      });
      await clock.advance(0);
    },
    ended: () => ended,
    taken: () => taken,
  };
}

const OURS = /^uninstall:[0-9a-f]{8}$/;

describe('takeLease', () => {
  it('asks the holder for the Lease and resolves after the handover', async () => {
    const { clock, held, set, begin, taken, said } = stage('leader');
    await begin();
    await clock.advance(2000);
    const asked = held()?.metadata.annotations?.[LEASE_SUCCESSOR_ANNOTATION] ?? '';
    expect(asked).toMatch(OURS);
    expect(taken()).toBeUndefined();
    set({ metadata: {}, spec: spec(asked) });
    await clock.advance(250);
    expect(said).toEqual(['This command holds Lease own/operator. No operator writes to the gateways.']);
    await taken()?.delete(unused);
    expect(held()).toBeUndefined();
    expect(clock.pending).toBe(0);
  });

  it('asks again when another replica has become leader', async () => {
    const { clock, held, set, begin } = stage('leader');
    await begin();
    await clock.advance(2000);
    set({ metadata: {}, spec: spec('other') });
    await clock.advance(500);
    expect(held()?.metadata.annotations?.[LEASE_SUCCESSOR_ANNOTATION]).toMatch(OURS);
    expect(held()?.spec.holderIdentity).toBe('other');
  });

  it.each(['', 'uninstall:0123abcd'])('immediately takes a Lease with holder "%s"', async (holder) => {
    const { clock, held, begin, taken } = stage(holder);
    await begin();
    await clock.advance(250);
    expect(taken()).toBeDefined();
    expect(held()?.spec).toMatchObject({
      holderIdentity: expect.stringMatching(OURS),
      leaseDurationSeconds: 30,
      leaseTransitions: 4,
    });
  });

  it('takes an expired Lease and renews it until disposal', async () => {
    const { clock, held, begin, taken } = stage('dead');
    await begin();
    await clock.advance(14_750);
    expect(held()?.spec.holderIdentity).toBe('dead');
    await clock.advance(500);
    expect(taken()).toBeDefined();
    const before = held()?.spec['renewTime'];
    await clock.advance(10_000);
    expect(held()?.spec['renewTime']).not.toBe(before);
    const last = held()?.spec['renewTime'];
    await taken()?.[Symbol.asyncDispose]();
    await clock.advance(60_000);
    expect(held()?.spec['renewTime']).toBe(last);
    expect(held()?.spec.holderIdentity).toMatch(OURS);
  });

  it('gives up when the holder renews the Lease and does not hand it over', async () => {
    const { clock, held, set, begin, ended, taken, said } = stage('older');
    await begin();
    for (let second = 1; second < 20; second += 2) {
      set({ metadata: held()?.metadata ?? {}, spec: { ...spec('older'), renewTime: `${second}` } });
      await clock.advance(2000);
    }
    expect(ended()).toBe(true);
    expect(taken()).toBeUndefined();
    expect(said).toEqual([
      'The operator did not hand over Lease own/operator within 20 s. The next operator waits until it expires.',
    ]);
    expect(held()?.spec.holderIdentity).toBe('older');
  });

  it('resolves to undefined when the Lease does not exist or may not be read', async () => {
    const none = stage(undefined);
    await none.begin();
    expect(none.ended()).toBe(true);
    expect(none.said).toEqual([]);

    const forbidden = stage('leader');
    forbidden.refuse(403);
    await forbidden.begin();
    expect(forbidden.ended()).toBe(true);
    expect(forbidden.said).toEqual([
      'Lease own/operator is not deleted, and the next operator waits until it expires: forbidden',
    ]);
  });

  it('does not delete a Lease that another replica holds', async () => {
    const { clock, held, set, begin, taken } = stage('');
    await begin();
    await clock.advance(250);
    set({ metadata: {}, spec: spec('next') });
    await taken()?.delete(unused);
    expect(held()?.spec.holderIdentity).toBe('next');
  });

  it('retries a failed renewal', async () => {
    const { clock, held, begin, taken, refuse, allow, said } = stage('');
    await begin();
    await clock.advance(250);
    const first = held()?.spec['renewTime'];
    for (const status of [500, 409]) {
      refuse(status);
      await clock.advance(10_000);
      allow();
      const before = held()?.spec['renewTime'];
      await clock.advance(2000);
      expect(held()?.spec['renewTime']).not.toBe(before);
    }
    const last = held()?.spec['renewTime'];
    expect(last).not.toBe(first);
    await clock.advance(10_000);
    expect(held()?.spec['renewTime']).not.toBe(last);
    await taken()?.[Symbol.asyncDispose]();
    expect(said).toEqual(['This command holds Lease own/operator. No operator writes to the gateways.']);
  });

  it.each([
    ['next', 'next'],
    [undefined, 'no replica'],
  ])('prints a message when it loses the Lease to %s', async (holder, named) => {
    const { clock, set, clear, begin, taken, said } = stage('');
    await begin();
    await clock.advance(250);
    if (holder === undefined) clear();
    else set({ metadata: {}, spec: spec(holder) });
    await clock.advance(30_000);
    expect(said.slice(1)).toEqual([
      `This command lost Lease own/operator (new holder: ${named}), so an operator may write again. Scale the operator down and run this command again.`,
    ]);
    await taken()?.[Symbol.asyncDispose]();
    expect(clock.pending).toBe(0);
  });
});
