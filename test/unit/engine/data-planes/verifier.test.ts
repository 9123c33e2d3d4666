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

/** Data planes that answer what a test says, and count what they are asked. */
class DataPlanes {
  readonly asked: string[] = [];
  readonly views = new Map<string, Map<string, string>>([
    [A, new Map()],
    [B, new Map()],
  ]);
  readonly broken = new Map<string, Error>();
  atOnce = 0;
  mostAtOnce = 0;
  /** Resolvers of calls that are held back. */
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

  /** Every data plane shows `canonical` of `name`. */
  serve(name: string, canonical: string, urls: readonly string[] = [A, B]): void {
    for (const url of urls) this.views.get(url)?.set(`shop.${name}`, this.shown(canonical));
  }

  take(): readonly string[] {
    return this.asked.splice(0).sort();
  }
}

const open: DataPlaneVerifier[] = [];
afterEach(async () => {
  await Promise.all(open.splice(0).map((proof) => proof.close()));
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
  const told = new Map<string, unknown>();
  const dataPlanes = vi.fn((object: GatewayUpstream, status: unknown) => void told.set(object.name, status));
  const onChange = vi.fn();
  let usable = true;
  const source = {
    found: { state: 'absent', reason: 'ServiceNotFound', message: 'no such Service' } as Discovered,
    changed: undefined as (() => void) | undefined,
    ended: 0,
  };
  const states = new ObjectStates(clock);
  const proof = new DataPlaneVerifier({
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
  open.push(proof);
  proof.follow('default');
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
    proof,
    told,
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
    /** Written just now, in place of nothing that this program knows unless `replaced` says so. */
    wrote: (object: GatewayUpstream, canonical: string, replaced?: string) =>
      proof.expect(object, held(object.name, canonical), {
        replaced: replaced === undefined ? undefined : held(object.name, replaced),
      }),
    holds: (object: GatewayUpstream, canonical: string) =>
      proof.expect(object, held(object.name, canonical), undefined),
  };
}

describe('after a write', () => {
  it('looks at the nodes alone where these are all that is kept', async () => {
    const { clock, planes, wrote, add, told } = await start();
    planes.shown = (canonical) => canonical;
    wrote(add('web', { manage: 'Nodes' }), '{"nodes":["a"],"retries":1}');
    planes.serve('web', '{"nodes":["a"],"retries":5}');
    await clock.advance(200);
    expect(told.get('web')).toEqual({ total: 2, current: 2 });
    planes.serve('web', '{"nodes":["b"],"retries":1}', [B]);
    await clock.advance(5000);
    expect(told.get('web')).toEqual({
      total: 2,
      current: 1,
      lagging: [{ dataPlane: B, reason: 'OlderContent' }],
    });
  });

  it('asks each data plane after 0.2, 1 and 5 s, and never again', async () => {
    const { clock, planes, wrote, add, told } = await start();
    planes.take();
    wrote(add('web'), '1');
    await clock.advance(199);
    expect(planes.take()).toEqual([]);
    planes.serve('web', '1');
    const asked = ['A get shop.web', 'B get shop.web'];
    await clock.advance(1);
    expect(planes.take()).toEqual(asked);
    expect(told.get('web')).toEqual({ total: 2, current: 2 });
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

  it('names one that still serves what was there before after 5 s, and not earlier', async () => {
    const { clock, planes, wrote, add, told, proof } = await start();
    const web = add('web');
    planes.serve('web', '1');
    wrote(web, '1');
    await clock.advance(10_000);
    wrote(web, '2', '1');
    planes.serve('web', '2', [A]);
    await clock.advance(4999);
    expect(told.get('web')).toEqual({ total: 2, current: 2 });
    expect(proof.lagging()).toEqual(new Map([['default', 0]]));
    await clock.advance(1);
    expect(told.get('web')).toEqual({
      total: 2,
      current: 1,
      lagging: [{ dataPlane: B, reason: 'OlderContent' }],
    });
    expect(proof.lagging()).toEqual(new Map([['default', 1]]));
  });

  it('names one that has no such upstream, and takes that back when it has', async () => {
    const { clock, planes, wrote, add, told } = await start();
    planes.serve('web', '1', [A]);
    wrote(add('web'), '1');
    await clock.advance(4999);
    expect(told.has('web')).toBe(false);
    await clock.advance(1);
    expect(told.get('web')).toEqual({ total: 2, current: 1, lagging: [{ dataPlane: B, reason: 'Missing' }] });
    planes.take();
    planes.serve('web', '1');
    await clock.advance(30_000);
    expect(planes.take()).toEqual(['B get shop.web']);
    expect(told.get('web')).toEqual({ total: 2, current: 2 });
  });

  it('a newer write has its own times', async () => {
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

  it('does not take a data plane that follows a little behind for one that lags, however often it is written', async () => {
    const { clock, planes, wrote, add, told } = await start();
    const web = add('web');
    for (let n = 1; n <= 100; n += 1) {
      wrote(web, `${n}`, `${n - 1}`);
      planes.serve('web', `${n - 1}`);
      await clock.advance(250);
    }
    expect(told.size).toBe(0);
    planes.serve('web', '100');
    await clock.advance(5000);
    expect(told.get('web')).toEqual({ total: 2, current: 2 });
  });

  it('finds one that is stuck although it is written all the time', async () => {
    const { clock, planes, wrote, add, told } = await start();
    const web = add('web');
    planes.serve('web', '0');
    for (let n = 1; n <= 40; n += 1) {
      wrote(web, `${n}`, `${n - 1}`);
      planes.serve('web', `${n}`, [A]);
      await clock.advance(250);
    }
    expect(told.get('web')).toEqual({
      total: 2,
      current: 1,
      lagging: [{ dataPlane: B, reason: 'OlderContent' }],
    });
  });
});

describe('a data plane that cannot be asked', () => {
  const refused = new GatewayUnavailableError('refused the connection: is the port right?');

  it('is named when it failed twice in a row, with the reason on the connection', async () => {
    const { clock, planes, wrote, add, told, proof, onChange, log } = await start();
    planes.serve('web', '1');
    planes.broken.set(B, refused);
    wrote(add('web'), '1');
    await clock.advance(999);
    expect(proof.status('default')).toEqual({ total: 2, reachable: 2 });
    await clock.advance(1);
    expect(told.get('web')).toEqual({
      total: 2,
      current: 1,
      lagging: [{ dataPlane: B, reason: 'Unreachable' }],
    });
    expect(proof.status('default')).toEqual({
      total: 2,
      reachable: 1,
      unreachable: [{ dataPlane: B, message: refused.message }],
    });
    expect(proof.lagging()).toEqual(new Map([['default', 1]]));
    expect(onChange).toHaveBeenCalled();
    await clock.advance(600_000);
    expect(log.warn).toHaveBeenCalledTimes(1);

    planes.broken.clear();
    planes.serve('web', '0', [B]);
    await clock.advance(30_000);
    expect(proof.status('default')).toEqual({ total: 2, reachable: 2 });
    expect(told.get('web')).toMatchObject({ lagging: [{ dataPlane: B, reason: 'OlderContent' }] });
  });

  it('is not named for a single failure', async () => {
    const { clock, planes, holds, add, told, proof } = await start();
    planes.serve('web', '1');
    await clock.advance(60_000);
    planes.broken.set(B, refused);
    holds(add('web'), '1');
    await settle();
    planes.broken.clear();
    await clock.advance(1000);
    expect(told.get('web')).toEqual({ total: 2, current: 2 });
    expect(proof.status('default')).toEqual({ total: 2, reachable: 2 });
  });

  it('does not keep the others from being asked', async () => {
    const { clock, planes, wrote, add, proof } = await start();
    planes.holdBack = true;
    wrote(add('web'), '1');
    await clock.advance(200);
    expect(planes.waiting).toHaveLength(2);
    planes.waiting[0]?.();
    await settle();
    planes.take();
    proof.recheck('default');
    await settle();
    expect(planes.take()).toHaveLength(1);
    planes.holdBack = false;
    for (const resolve of planes.waiting) resolve();
  });
});

describe('in a sweep', () => {
  it('asks each data plane once, however many upstreams there are', async () => {
    const { clock, planes, holds, add, proof, told } = await start();
    await clock.advance(60_000);
    for (let n = 0; n < 3000; n += 1) {
      planes.serve(`u${n}`, '1');
      holds(add(`u${n}`), '1');
    }
    await clock.advance(10_000);
    expect(told.size).toBe(3000);
    planes.take();
    planes.serve('u7', '0', [B]);
    proof.recheck('default');
    await clock.advance(5000);
    expect(planes.take()).toEqual(['A list', 'B list']);
    expect([...told].filter(([, status]) => JSON.stringify(status).includes('lagging'))).toEqual([
      ['u7', { total: 2, current: 1, lagging: [{ dataPlane: B, reason: 'OlderContent' }] }],
    ]);
  });

  it('lists one data plane at most every 5 s', async () => {
    const { clock, planes, holds, add, proof } = await start();
    for (let n = 0; n < 20; n += 1) holds(add(`u${n}`), '1');
    await clock.advance(60_000);
    planes.take();
    for (let second = 0; second < 20; second += 1) {
      proof.recheck('default');
      await clock.advance(1000);
    }
    expect(planes.take().filter((asked) => asked === 'A list').length).toBeLessThanOrEqual(4);
  });

  it('tells nothing where nothing changed', async () => {
    const { clock, planes, holds, add, proof, dataPlanes } = await start();
    planes.serve('web', '1');
    holds(add('web'), '1');
    for (let n = 0; n < 10; n += 1) {
      await clock.advance(600_000);
      proof.recheck('default');
    }
    await settle();
    expect(dataPlanes).toHaveBeenCalledTimes(1);
  });

  it('asks at most 8 data planes of a connection at a time', async () => {
    const urls = Array.from({ length: 20 }, (_, n) => `http://10.0.1.${n}:9090`);
    const { clock, planes, proof } = await start({ controlApi: { urls } });
    await clock.advance(60_000);
    planes.holdBack = true;
    proof.recheck('default');
    await settle();
    expect(planes.atOnce).toBe(8);
    planes.holdBack = false;
    for (const resolve of planes.waiting) resolve();
    await settle();
    expect(planes.mostAtOnce).toBe(8);
  });
});

describe('nothing is asked', () => {
  it('for an object that is gone', async () => {
    const { clock, planes, wrote, add, proof, upstreams, told } = await start();
    const web = add('web');
    wrote(web, '1');
    upstreams.remove(web);
    proof.forget('shop/web');
    planes.take();
    await clock.advance(60_000);
    expect(planes.take()).toEqual([]);
    expect(told.size).toBe(0);
  });

  it('where the connection says nothing of data planes; and what was said of them before is taken back', async () => {
    const { clock, planes, wrote, add, proof, told, connections } = await start();
    planes.serve('web', '1');
    const web = add('web');
    wrote(web, '1');
    await clock.advance(10_000);
    expect(told.get('web')).toEqual({ total: 2, current: 2 });
    connections.upsert(connection(undefined, '2'));
    proof.follow('default');
    planes.take();
    expect(told.get('web')).toBeUndefined();
    expect(proof.status('default')).toBeUndefined();
    expect(proof.lagging()).toEqual(new Map());
    wrote(web, '2');
    await clock.advance(60_000);
    expect(planes.take()).toEqual([]);
  });

  it('while the connection cannot be used', async () => {
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

  it('follow its endpoints', async () => {
    const { clock, planes, holds, add, proof, told, source } = await start({ controlApi: SERVICE });
    expect(proof.status('default')).toEqual({
      total: 0,
      reachable: 0,
      message: 'spec.apisix.controlApi.serviceRef: no such Service',
    });
    planes.serve('web', '1');
    holds(add('web'), '1');
    source.found = { state: 'absent', reason: 'PortNotFound', message: 'a port, '.repeat(1000) };
    source.changed?.();
    await settle();
    expect(JSON.stringify(proof.status('default')).length).toBeLessThan(1200);
    source.found = known('10.0.0.1');
    source.changed?.();
    await clock.advance(1000);
    expect(told.get('web')).toEqual({ total: 1, current: 1 });
    source.found = known('10.0.0.1', '10.0.0.2');
    source.changed?.();
    await clock.advance(1000);
    expect(told.get('web')).toEqual({ total: 2, current: 2 });
    source.found = known('10.0.0.2');
    source.changed?.();
    await clock.advance(1000);
    expect(told.get('web')).toEqual({ total: 1, current: 1 });
    source.found = known();
    source.changed?.();
    await clock.advance(1000);
    expect(told.get('web')).toEqual({ total: 0, current: 0 });
    expect(proof.status('default')).toMatchObject({ message: expect.stringContaining('no ready endpoint') });
  });

  it('stay what they were while nothing is known', async () => {
    const { clock, planes, holds, add, proof, told, source } = await start({ controlApi: SERVICE });
    planes.serve('web', '1');
    holds(add('web'), '1');
    source.found = known('10.0.0.1');
    source.changed?.();
    await clock.advance(1000);
    source.found = { state: 'unknown', beginning: false, message: 'Services are not known' };
    source.changed?.();
    await clock.advance(1000);
    expect(told.get('web')).toEqual({ total: 1, current: 1 });
    expect(proof.status('default')).toEqual({ total: 1, reachable: 1, message: 'Services are not known' });
  });

  it('are not looked for in a namespace that the operator does not look at', async () => {
    const { proof } = await start({ controlApi: SERVICE, namespaces: ['shop'] });
    expect(proof.status('default')).toMatchObject({
      total: 0,
      message: expect.stringContaining('does not watch namespace gateway'),
    });
  });

  it('are followed no more when the connection names them', async () => {
    const { proof, connections, source } = await start({ controlApi: SERVICE });
    connections.upsert(connection({ urls: [A] }, '2'));
    proof.follow('default');
    await settle();
    expect(source.ended).toBe(1);
    expect(proof.status('default')).toEqual({ total: 1, reachable: 1 });
  });
});
