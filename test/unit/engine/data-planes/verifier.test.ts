import { afterEach, describe, expect, it, vi } from 'vitest';
import { upstreamIndexes } from '../../../../src/decide/upstream-indexes.ts';
import { DataPlaneVerifier } from '../../../../src/engine/data-planes/verifier.ts';
import { ObjectStates } from '../../../../src/engine/object-state.ts';
import { createStore } from '../../../../src/kube/store.ts';
import type { Discovered } from '../../../../src/model/discovered.ts';
import { GatewayUnavailableError } from '../../../../src/model/errors.ts';
import type { GatewayConnection, GatewayUpstream } from '../../../../src/model/objects.ts';
import type { ObservedUpstream } from '../../../../src/model/upstream.ts';
import { Pace } from '../../../../src/runtime/pace.ts';
import { transformGatewayConnection, transformGatewayUpstream, vendorOf } from '../../../support/catalog.ts';
import { createFakeClock, settle } from '../../../support/fake-clock.ts';
import { noReports } from '../../../support/no-reports.ts';

const A = 'http://10.0.0.1:9090';
const B = 'http://10.0.0.2:9090';
const SERVICE = { serviceRef: { namespace: 'gateway', name: 'control', port: 9090 } };

function connection(controlApi: object | undefined, resourceVersion = '1'): GatewayConnection {
  const apisix = { adminUrl: 'http://apisix:9180', adminKeySecretRef: { name: 'k' }, controlApi };
  const trimmed = transformGatewayConnection({
    metadata: { name: 'default', uid: 'c', resourceVersion, generation: 1 },
    spec: { type: 'APISIX', apisix },
  });
  if (trimmed?.spec.ok !== true) throw new Error('no valid object');
  return trimmed;
}

function upstream(name: string, spec: object = {}): GatewayUpstream {
  const trimmed = transformGatewayUpstream({
    metadata: { namespace: 'shop', name, uid: name, resourceVersion: '1', generation: 1 },
    spec: { backends: [{ serviceRef: { name: 'web', port: 80 } }], ...spec },
  });
  if (trimmed === undefined) throw new Error('no object');
  return trimmed;
}

const held = (name: string, canonical: string): ObservedUpstream => ({
  id: `shop.${name}`,
  labels: {},
  nodes: [],
  canonical,
});

/** Data planes with scripted answers that record their requests. */
class DataPlanes {
  readonly asked: string[] = [];
  readonly views = new Map<string, Map<string, string>>([
    [A, new Map()],
    [B, new Map()],
  ]);
  readonly broken = new Map<string, Error>();
  atOnce = 0;
  mostAtOnce = 0;
  /** Resolvers of blocked calls. */
  readonly waiting: (() => void)[] = [];
  holdBack = false;

  shown = (canonical: string) => `shown ${canonical}`;
  get = (url: string, id: string) => this.#answer(url, `get ${id}`, (view) => view.get(id));
  list = (url: string) => this.#answer(url, 'list', (view) => new Map(view));

  async #answer<T>(url: string, what: string, of: (view: Map<string, string>) => T): Promise<T> {
    this.asked.push(`${url.includes('0.1') ? 'A' : 'B'} ${what}`);
    this.atOnce += 1;
    this.mostAtOnce = Math.max(this.mostAtOnce, this.atOnce);
    if (this.holdBack) await new Promise<void>((resolve) => this.waiting.push(resolve));
    else await Promise.resolve();
    this.atOnce -= 1;
    const error = this.broken.get(url);
    if (error !== undefined) throw error;
    return of(this.views.get(url) ?? new Map());
  }

  /** Makes the data planes serve `canonical` as `name`. */
  serve(name: string, canonical: string, urls: readonly string[] = [A, B]): void {
    for (const url of urls) this.views.get(url)?.set(`shop.${name}`, this.shown(canonical));
  }

  take(): readonly string[] {
    return this.asked.splice(0).sort();
  }
}

const open: DataPlaneVerifier[] = [];
afterEach(async () => {
  await Promise.all(open.splice(0).map((verifier) => verifier.close()));
});

async function start(options: { controlApi?: object | undefined; namespaces?: readonly string[] } = {}) {
  const { controlApi, namespaces } = { controlApi: { urls: [A, B] }, namespaces: [], ...options };
  const clock = createFakeClock();
  const planes = new DataPlanes();
  const reportError = (error: unknown) => {
    throw error;
  };
  const upstreams = createStore<GatewayUpstream>({ indexes: upstreamIndexes, reportError });
  const connections = createStore<GatewayConnection>({ indexes: {}, reportError });
  connections.upsert(connection(controlApi));
  const log = { debug: vi.fn(), info: vi.fn(), warn: vi.fn(), error: vi.fn(), child: () => log };
  const statuses = new Map<string, unknown>();
  const dataPlanes = vi.fn(
    (object: GatewayUpstream, status: unknown) => void statuses.set(object.name, status),
  );
  const onChange = vi.fn();
  let usable = true;
  const source = {
    found: { state: 'absent', reason: 'ServiceNotFound', message: 'no such Service' } as Discovered,
    changed: undefined as (() => void) | undefined,
    ended: 0,
  };
  const states = new ObjectStates(clock);
  const verifier = new DataPlaneVerifier({
    vendorOf,
    states,
    connections,
    upstreams,
    readerOf: () => (usable ? planes : undefined),
    source: {
      type: 'test',
      run: async () => undefined,
      subscribe(_ref, changed) {
        source.changed = () => changed('instances');
        return {
          [Symbol.dispose]() {
            source.ended += 1;
          },
        };
      },
      read: () => source.found,
      departure: () => 'unknown',
      listedElsewhere: () => new Set(),
    },
    onlyNamespaces: namespaces,
    reporter: { ...noReports, dataPlanes },
    pace: new Pace(clock),
    clock,
    log,
    onChange,
  });
  open.push(verifier);
  verifier.update('default');
  await settle();
  const add = (name: string, spec?: object) => {
    const object = upstream(name, spec);
    upstreams.upsert(object);
    states.track(object);
    return object;
  };
  return {
    clock,
    planes,
    verifier,
    statuses,
    dataPlanes,
    connections,
    upstreams,
    onChange,
    source,
    log,
    add,
    setUsable: (value: boolean) => {
      usable = value;
    },
    /** Reports a write just now. It created the upstream unless `replaced` is given. */
    wrote: (object: GatewayUpstream, canonical: string, replaced?: string) =>
      verifier.expect(object, held(object.name, canonical), {
        replaced: replaced === undefined ? undefined : held(object.name, replaced),
      }),
    holds: (object: GatewayUpstream, canonical: string) =>
      verifier.expect(object, held(object.name, canonical), undefined),
  };
}

describe('after a write', () => {
  it('compares only the nodes with manage Nodes', async () => {
    const { clock, planes, wrote, add, statuses } = await start();
    planes.shown = (canonical) => canonical;
    wrote(add('web', { manage: 'Nodes' }), '{"nodes":["a"],"retries":1}');
    planes.serve('web', '{"nodes":["a"],"retries":5}');
    await clock.advance(200);
    expect(statuses.get('web')).toEqual({ total: 2, current: 2 });
    planes.serve('web', '{"nodes":["b"],"retries":1}', [B]);
    await clock.advance(5000);
    expect(statuses.get('web')).toEqual({
      total: 2,
      current: 1,
      lagging: [{ dataPlane: B, reason: 'OlderContent' }],
    });
  });

  it('checks each data plane after 0.2, 1 and 5 s', async () => {
    const { clock, planes, wrote, add, statuses } = await start();
    planes.take();
    wrote(add('web'), '1');
    await clock.advance(199);
    expect(planes.take()).toEqual([]);
    planes.serve('web', '1');
    const asked = ['A get shop.web', 'B get shop.web'];
    await clock.advance(1);
    expect(planes.take()).toEqual(asked);
    expect(statuses.get('web')).toEqual({ total: 2, current: 2 });
    await clock.advance(799);
    expect(planes.take()).toEqual([]);
    await clock.advance(1);
    expect(planes.take()).toEqual(asked);
    await clock.advance(3999);
    expect(planes.take()).toEqual([]);
    await clock.advance(1);
    expect(planes.take()).toEqual(asked);
    await clock.advance(3_600_000);
    expect(planes.take()).toEqual([]);
  });

  it('reports a data plane that still serves the previous content after 5 s, and not earlier', async () => {
    const { clock, planes, wrote, add, statuses, verifier } = await start();
    const web = add('web');
    planes.serve('web', '1');
    wrote(web, '1');
    await clock.advance(10_000);
    wrote(web, '2', '1');
    planes.serve('web', '2', [A]);
    await clock.advance(4999);
    expect(statuses.get('web')).toEqual({ total: 2, current: 2 });
    expect(verifier.lagging()).toEqual(new Map([['default', 0]]));
    await clock.advance(1);
    expect(statuses.get('web')).toEqual({
      total: 2,
      current: 1,
      lagging: [{ dataPlane: B, reason: 'OlderContent' }],
    });
    expect(verifier.lagging()).toEqual(new Map([['default', 1]]));
  });

  it('reports a data plane without the upstream until it serves it', async () => {
    const { clock, planes, wrote, add, statuses } = await start();
    planes.serve('web', '1', [A]);
    wrote(add('web'), '1');
    await clock.advance(4999);
    expect(statuses.has('web')).toBe(false);
    await clock.advance(1);
    expect(statuses.get('web')).toEqual({
      total: 2,
      current: 1,
      lagging: [{ dataPlane: B, reason: 'Missing' }],
    });
    planes.take();
    planes.serve('web', '1');
    await clock.advance(30_000);
    expect(planes.take()).toEqual(['B get shop.web']);
    expect(statuses.get('web')).toEqual({ total: 2, current: 2 });
  });

  it('restarts the checks after a newer write', async () => {
    const { clock, planes, wrote, add } = await start();
    const web = add('web');
    planes.take();
    planes.serve('web', '2');
    wrote(web, '1');
    await clock.advance(150);
    wrote(web, '2', '1');
    await clock.advance(199);
    expect(planes.take()).toEqual([]);
    await clock.advance(1);
    expect(planes.take()).toEqual(['A get shop.web', 'B get shop.web']);
    await clock.advance(4799);
    expect(planes.take()).toHaveLength(2);
    await clock.advance(1);
    expect(planes.take()).toHaveLength(2);
    await clock.advance(60_000);
    expect(planes.take()).toEqual([]);
  });

  it('does not report a data plane with a short delay as lagging, even with frequent writes', async () => {
    const { clock, planes, wrote, add, statuses } = await start();
    const web = add('web');
    for (let n = 1; n <= 100; n += 1) {
      wrote(web, `${n}`, `${n - 1}`);
      planes.serve('web', `${n - 1}`);
      await clock.advance(250);
    }
    expect(statuses.size).toBe(0);
    planes.serve('web', '100');
    await clock.advance(5000);
    expect(statuses.get('web')).toEqual({ total: 2, current: 2 });
  });

  it('reports a stuck data plane even with frequent writes', async () => {
    const { clock, planes, wrote, add, statuses } = await start();
    const web = add('web');
    planes.serve('web', '0');
    for (let n = 1; n <= 40; n += 1) {
      wrote(web, `${n}`, `${n - 1}`);
      planes.serve('web', `${n}`, [A]);
      await clock.advance(250);
    }
    expect(statuses.get('web')).toEqual({
      total: 2,
      current: 1,
      lagging: [{ dataPlane: B, reason: 'OlderContent' }],
    });
  });
});

describe('an unreachable data plane', () => {
  const refused = new GatewayUnavailableError('refused the connection: is the port right?');

  it('is reported after two consecutive failures, with the reason on the connection', async () => {
    const { clock, planes, wrote, add, statuses, verifier, onChange, log } = await start();
    planes.serve('web', '1');
    planes.broken.set(B, refused);
    wrote(add('web'), '1');
    await clock.advance(999);
    expect(verifier.status('default')).toEqual({ total: 2, reachable: 2 });
    await clock.advance(1);
    expect(statuses.get('web')).toEqual({
      total: 2,
      current: 1,
      lagging: [{ dataPlane: B, reason: 'Unreachable' }],
    });
    expect(verifier.status('default')).toEqual({
      total: 2,
      reachable: 1,
      unreachable: [{ dataPlane: B, message: refused.message }],
    });
    expect(verifier.lagging()).toEqual(new Map([['default', 1]]));
    expect(onChange).toHaveBeenCalled();
    await clock.advance(600_000);
    expect(log.warn).toHaveBeenCalledTimes(1);

    planes.broken.clear();
    planes.serve('web', '0', [B]);
    await clock.advance(30_000);
    expect(verifier.status('default')).toEqual({ total: 2, reachable: 2 });
    expect(statuses.get('web')).toMatchObject({ lagging: [{ dataPlane: B, reason: 'OlderContent' }] });
  });

  it('is not reported after a single failure', async () => {
    const { clock, planes, holds, add, statuses, verifier } = await start();
    planes.serve('web', '1');
    await clock.advance(60_000);
    planes.broken.set(B, refused);
    holds(add('web'), '1');
    await settle();
    planes.broken.clear();
    await clock.advance(1000);
    expect(statuses.get('web')).toEqual({ total: 2, current: 2 });
    expect(verifier.status('default')).toEqual({ total: 2, reachable: 2 });
  });

  it('does not delay the checks of other data planes', async () => {
    const { clock, planes, wrote, add, verifier } = await start();
    planes.holdBack = true;
    wrote(add('web'), '1');
    await clock.advance(200);
    expect(planes.waiting).toHaveLength(2);
    planes.waiting[0]?.();
    await settle();
    planes.take();
    verifier.recheck('default');
    await settle();
    expect(planes.take()).toHaveLength(1);
    planes.holdBack = false;
    for (const resolve of planes.waiting) resolve();
  });
});

describe('recheck', () => {
  it('lists each data plane once, regardless of the number of upstreams', async () => {
    const { clock, planes, holds, add, verifier, statuses } = await start();
    await clock.advance(60_000);
    for (let n = 0; n < 3000; n += 1) {
      planes.serve(`u${n}`, '1');
      holds(add(`u${n}`), '1');
    }
    await clock.advance(10_000);
    expect(statuses.size).toBe(3000);
    planes.take();
    planes.serve('u7', '0', [B]);
    verifier.recheck('default');
    await clock.advance(5000);
    expect(planes.take()).toEqual(['A list', 'B list']);
    expect([...statuses].filter(([, status]) => JSON.stringify(status).includes('lagging'))).toEqual([
      ['u7', { total: 2, current: 1, lagging: [{ dataPlane: B, reason: 'OlderContent' }] }],
    ]);
  });

  it('lists a data plane at most every 5 s', async () => {
    const { clock, planes, holds, add, verifier } = await start();
    for (let n = 0; n < 20; n += 1) holds(add(`u${n}`), '1');
    await clock.advance(60_000);
    planes.take();
    for (let second = 0; second < 20; second += 1) {
      verifier.recheck('default');
      await clock.advance(1000);
    }
    expect(planes.take().filter((asked) => asked === 'A list').length).toBeLessThanOrEqual(4);
  });

  it('reports nothing if nothing changed', async () => {
    const { clock, planes, holds, add, verifier, dataPlanes } = await start();
    planes.serve('web', '1');
    holds(add('web'), '1');
    for (let n = 0; n < 10; n += 1) {
      await clock.advance(600_000);
      verifier.recheck('default');
    }
    await settle();
    expect(dataPlanes).toHaveBeenCalledTimes(1);
  });

  it('checks at most 8 data planes of a connection at a time', async () => {
    const urls = Array.from({ length: 20 }, (_, n) => `http://10.0.1.${n}:9090`);
    const { clock, planes, verifier } = await start({ controlApi: { urls } });
    await clock.advance(60_000);
    planes.holdBack = true;
    verifier.recheck('default');
    await settle();
    expect(planes.atOnce).toBe(8);
    planes.holdBack = false;
    for (const resolve of planes.waiting) resolve();
    await settle();
    expect(planes.mostAtOnce).toBe(8);
  });
});

describe('no data plane is checked', () => {
  it('for a deleted object', async () => {
    const { clock, planes, wrote, add, verifier, upstreams, statuses } = await start();
    const web = add('web');
    wrote(web, '1');
    upstreams.remove(web);
    verifier.forget('shop/web');
    planes.take();
    await clock.advance(60_000);
    expect(planes.take()).toEqual([]);
    expect(statuses.size).toBe(0);
  });

  it('after controlApi is removed from the connection, and the status no longer lists data planes', async () => {
    const { clock, planes, wrote, add, verifier, statuses, connections } = await start();
    planes.serve('web', '1');
    const web = add('web');
    wrote(web, '1');
    await clock.advance(10_000);
    expect(statuses.get('web')).toEqual({ total: 2, current: 2 });
    connections.upsert(connection(undefined, '2'));
    verifier.update('default');
    planes.take();
    expect(statuses.get('web')).toBeUndefined();
    expect(verifier.status('default')).toBeUndefined();
    expect(verifier.lagging()).toEqual(new Map());
    wrote(web, '2');
    await clock.advance(60_000);
    expect(planes.take()).toEqual([]);
  });

  it('while the connection is unusable', async () => {
    const { clock, planes, wrote, add, setUsable } = await start();
    planes.take();
    setUsable(false);
    wrote(add('web'), '1');
    await clock.advance(60_000);
    expect(planes.take()).toEqual([]);
  });
});

describe('data planes behind a Service', () => {
  const known = (...addresses: readonly string[]): Discovered => ({
    state: 'known',
    preferredFamily: 'IPv4',
    basis: '',
    endpoints: addresses.map((address) => ({
      address,
      family: 'IPv4',
      port: 9090,
      ready: true,
      serving: true,
      terminating: false,
    })),
  });

  it('are updated with its endpoints', async () => {
    const { clock, planes, holds, add, verifier, statuses, source } = await start({ controlApi: SERVICE });
    expect(verifier.status('default')).toEqual({
      total: 0,
      reachable: 0,
      message: 'spec.apisix.controlApi.serviceRef: no such Service',
    });
    planes.serve('web', '1');
    holds(add('web'), '1');
    source.found = { state: 'absent', reason: 'PortNotFound', message: 'a port, '.repeat(1000) };
    source.changed?.();
    await settle();
    expect(JSON.stringify(verifier.status('default')).length).toBeLessThan(1200);
    source.found = known('10.0.0.1');
    source.changed?.();
    await clock.advance(1000);
    expect(statuses.get('web')).toEqual({ total: 1, current: 1 });
    source.found = known('10.0.0.1', '10.0.0.2');
    source.changed?.();
    await clock.advance(1000);
    expect(statuses.get('web')).toEqual({ total: 2, current: 2 });
    source.found = known('10.0.0.2');
    source.changed?.();
    await clock.advance(1000);
    expect(statuses.get('web')).toEqual({ total: 1, current: 1 });
    source.found = known();
    source.changed?.();
    await clock.advance(1000);
    expect(statuses.get('web')).toEqual({ total: 0, current: 0 });
    expect(verifier.status('default')).toMatchObject({
      message: expect.stringContaining('no ready endpoint'),
    });
  });

  it('stay the same while its endpoints are unknown', async () => {
    const { clock, planes, holds, add, verifier, statuses, source } = await start({ controlApi: SERVICE });
    planes.serve('web', '1');
    holds(add('web'), '1');
    source.found = known('10.0.0.1');
    source.changed?.();
    await clock.advance(1000);
    source.found = { state: 'unknown', beginning: false, message: 'Services are not known' };
    source.changed?.();
    await clock.advance(1000);
    expect(statuses.get('web')).toEqual({ total: 1, current: 1 });
    expect(verifier.status('default')).toEqual({ total: 1, reachable: 1, message: 'Services are not known' });
  });

  it('are not found in a namespace that the operator does not watch', async () => {
    const { verifier } = await start({ controlApi: SERVICE, namespaces: ['shop'] });
    expect(verifier.status('default')).toMatchObject({
      total: 0,
      message: expect.stringContaining('does not watch namespace gateway'),
    });
  });

  it('are replaced when the connection lists URLs instead', async () => {
    const { verifier, connections, source } = await start({ controlApi: SERVICE });
    connections.upsert(connection({ urls: [A] }, '2'));
    verifier.update('default');
    await settle();
    expect(source.ended).toBe(1);
    expect(verifier.status('default')).toEqual({ total: 1, reachable: 1 });
  });
});
