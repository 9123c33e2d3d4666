import { expect, it } from 'vitest';
import type { GatewayDriver } from '../../src/gateways/driver.ts';
import type { Upstream } from '../../src/model/upstream.ts';
import { eventually } from '../support/eventually.ts';

/** The data planes of a pull-type gateway under test. */
export interface PullHarness {
  /** The nodes' hosts that the data planes work by; undefined: nothing was ever accepted. */
  served(id: string): readonly string[] | undefined;
  /** Until it is disposed, no data plane takes over what it fetches. */
  pause(): Disposable;
  /** Until it is disposed, a data plane refuses what it fetches as `id`, for this reason. */
  refuse(id: string, why: string): Disposable;
  /** Connects one more data plane, until it is disposed. */
  connect(name: string): AsyncDisposable;
}

const unused = new AbortController().signal;

/** What a driver of a pull-type gateway does besides. `upstream` makes one with these hosts. */
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

  it('is pending until the data planes have taken a write over, and says so once they have', async () => {
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

  it('is rejected where a data plane refuses a write, and what it accepted before stays in force', async () => {
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
      // What is configured is the new one: the operator must not take the rejection for drift.
      expect((await driver.get(id, unused))?.nodes).toMatchObject([{ host: '10.0.0.2' }]);
    }
    await eventually(() => expect(confirmations.of(id)).toEqual({ state: 'confirmed' }));
    expect(pull.served(id)).toEqual(['10.0.0.2']);
  });

  it('lets a new driver find out what an earlier one wrote', async () => {
    const { driver, upstream, confirmations, listener } = start();
    using _listener = listener;
    const { id } = await driver.put(upstream('earlier', ['10.0.0.1']), unused);
    await driver.list(unused);
    await eventually(() => expect(confirmations.of(id)).toEqual({ state: 'confirmed' }));
  });

  it('empties what it cannot delete: the data planes lose the nodes, and nothing is shown', async () => {
    const { driver, pull, upstream, confirmations, listener } = start();
    using _listener = listener;
    const { id } = await driver.put(upstream('emptied', ['10.0.0.1']), unused);
    await eventually(() => expect(confirmations.of(id)).toEqual({ state: 'confirmed' }));
    await driver.delete(id, { references: 'respect' }, unused);
    await eventually(() => expect(pull.served(id)).toEqual([]));
    expect(await driver.get(id, unused)).toBeUndefined();
    expect((await driver.list(unused)).upstreams.has(id)).toBe(false);
  });

  it('knows the data planes that are connected, and waits for each of them', async () => {
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
