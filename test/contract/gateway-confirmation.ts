import { expect, it } from 'vitest';
import type { GatewayDriver } from '../../src/gateways/driver.ts';
import type { Upstream } from '../../src/model/upstream.ts';
import { eventually } from '../support/eventually.ts';

/** The data planes of a pull-type gateway under test. */
export interface PullHarness {
  /** The hosts of the nodes that the data planes use; undefined if they have never accepted a configuration. */
  served(id: string): readonly string[] | undefined;
  /** Until it is disposed, no data plane applies what it fetches. */
  pause(): Disposable;
  /** Until it is disposed, a data plane rejects upstream `id` for this reason. */
  refuse(id: string, why: string): Disposable;
  /** Connects one more data plane, until it is disposed. */
  connect(name: string): AsyncDisposable;
}

const unused = new AbortController().signal;

/** The additional contract of a pull-type gateway. `upstream` creates an upstream with these hosts. */
export function testConfirmations(
  parts: () => {
    readonly driver: GatewayDriver;
    readonly pull: PullHarness;
    readonly upstream: (name: string, hosts: readonly string[]) => Upstream;
  },
): void {
  const start = () => {
    const { driver, ...rest } = parts();
    const { confirmations } = driver;
    if (confirmations === undefined) throw new Error('the driver has no confirmations');
    const told: (string | undefined)[] = [];
    const listener = confirmations.onChange((id) => told.push(id));
    return { driver, ...rest, confirmations, told, listener };
  };

  it('is pending until the data planes have applied a write, and then confirmed', async () => {
    const { driver, pull, upstream, confirmations, told, listener } = start();
    using _listener = listener;
    const desired = upstream('late', ['10.0.0.1']);
    {
      using _pause = pull.pause();
      await driver.put(desired, unused);
      expect(confirmations.of(desired.id)).toMatchObject({ state: 'pending' });
      expect(pull.served(desired.id)).toBeUndefined();
      told.length = 0;
    }
    await eventually(() => expect(confirmations.of(desired.id)).toEqual({ state: 'confirmed' }));
    expect(told).toContain(desired.id);
    expect(pull.served(desired.id)).toEqual(['10.0.0.1']);
  });

  it('is rejected if a data plane rejects a write, and the previous configuration stays active', async () => {
    const { driver, pull, upstream, confirmations, told, listener } = start();
    using _listener = listener;
    const { id } = await driver.put(upstream('refused', ['10.0.0.1']), unused);
    await eventually(() => expect(confirmations.of(id)).toEqual({ state: 'confirmed' }));
    told.length = 0;
    {
      using _refusal = pull.refuse(id, 'no such host');
      await driver.put(upstream('refused', ['10.0.0.2']), unused);
      await eventually(() => expect(confirmations.of(id)).toMatchObject({ state: 'rejected' }));
      expect(confirmations.of(id)).toHaveProperty('message', expect.stringContaining('no such host'));
      expect(told).toContain(id);
      expect(pull.served(id)).toEqual(['10.0.0.1']);
      // The gateway contains the new configuration, so the operator must not treat the rejection as drift.
      expect((await driver.get(id, unused))?.nodes).toMatchObject([{ host: '10.0.0.2' }]);
    }
    await eventually(() => expect(confirmations.of(id)).toEqual({ state: 'confirmed' }));
    expect(pull.served(id)).toEqual(['10.0.0.2']);
  });

  it('reports writes of an earlier driver to a new one', async () => {
    const { driver, upstream, confirmations, listener } = start();
    using _listener = listener;
    const { id } = await driver.put(upstream('earlier', ['10.0.0.1']), unused);
    await driver.list(unused);
    await eventually(() => expect(confirmations.of(id)).toEqual({ state: 'confirmed' }));
  });

  it('empties an upstream that cannot be deleted: the data planes lose its nodes, and it appears absent', async () => {
    const { driver, pull, upstream, confirmations, listener } = start();
    using _listener = listener;
    const { id } = await driver.put(upstream('emptied', ['10.0.0.1']), unused);
    await eventually(() => expect(confirmations.of(id)).toEqual({ state: 'confirmed' }));
    await driver.delete(id, { references: 'respect' }, unused);
    await eventually(() => expect(pull.served(id)).toEqual([]));
    expect(await driver.get(id, unused)).toBeUndefined();
    expect((await driver.list(unused)).upstreams.has(id)).toBe(false);
  });

  it('waits for each connected data plane', async () => {
    const { driver, pull, upstream, confirmations, told, listener } = start();
    using _listener = listener;
    await eventually(() => expect(confirmations.connectedDataPlanes()).not.toEqual([]));
    const before = confirmations.connectedDataPlanes();
    {
      await using _second = pull.connect('second');
      await eventually(() =>
        expect(confirmations.connectedDataPlanes()).toEqual([...before, 'second'].sort()),
      );
      const { id } = await driver.put(upstream('both', ['10.0.0.1']), unused);
      await eventually(() => expect(confirmations.of(id)).toEqual({ state: 'confirmed' }));
    }
    await eventually(() => expect(confirmations.connectedDataPlanes()).toEqual(before));
    expect(told.filter((id) => id === undefined).length).toBeGreaterThanOrEqual(2);
  });
}
