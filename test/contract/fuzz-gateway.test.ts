import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { grantIndexes } from '../../src/decide/references.ts';
import { upstreamIndexes } from '../../src/decide/upstream-indexes.ts';
import { createController } from '../../src/engine/controller.ts';
import { createInstruments } from '../../src/engine/instruments.ts';
import { ObjectStates } from '../../src/engine/object-state.ts';
import type { ObjectWriter } from '../../src/kube/object-writer.ts';
import { transformNamespace, transformSecret } from '../../src/kube/objects.ts';
import { createStore, type StoreOptions } from '../../src/kube/store.ts';
import type { GatewayUpstreamSet, ReferenceGrantStored } from '../../src/model/objects.ts';
import type { Stored } from '../../src/model/store-view.ts';
import { type Clock, systemClock } from '../../src/runtime/clock.ts';
import type { Logger } from '../../src/runtime/logger.ts';
import { createMetrics } from '../../src/runtime/metrics.ts';
import { Pace } from '../../src/runtime/pace.ts';
import { createKubernetesSource } from '../../src/sources/kubernetes/source.ts';
import {
  serviceIndexes,
  sliceIndexes,
  transformService,
  transformSlice,
} from '../../src/sources/kubernetes/transform.ts';
import { type StandIn, startStandIn } from '../support/apisix-stand-in/stand-in.ts';
import { transformGatewayConnection, transformGatewayUpstream, vendorOf } from '../support/catalog.ts';
import { eventually } from '../support/eventually.ts';
import { finalizersOf } from '../support/finalizers.ts';
import { fuzzCases } from '../support/fuzz-cases.ts';
import { MUTATIONS, mutate } from '../support/mutate.ts';
import { noReports } from '../support/no-reports.ts';
import { createRandom, pick } from '../support/random.ts';

const ANSWERS = fuzzCases(10_000);
/** Determines every response of a run. */
const SEED = Number(process.env['FUZZ_SEED'] ?? 1);

const IDS = ['shop.a', 'shop.b', 'shop.c'] as const;
const FOREIGN = {
  type: 'roundrobin',
  nodes: { '10.7.7.7:7': 1 },
  labels: { owner: 'them' },
};

const errors: unknown[] = [];
const log: Logger = {
  debug() {},
  info() {},
  warn() {},
  error: (fields: object, message: string) => void errors.push({ ...fields, message }),
  child: () => log,
};

/** Short pauses, because the tests check what follows them. */
const hasty: Clock = {
  ...systemClock,
  setTimer: (ms, fire) => systemClock.setTimer(Math.min(ms, 2), fire),
  sleep: (ms, signal) => systemClock.sleep(Math.min(ms, 2), signal),
};

function storeWith<T extends Stored>(
  objects: readonly (T | undefined)[],
  indexes: StoreOptions<T>['indexes'] = {},
) {
  const store = createStore<T>({
    indexes,
    reportError: (error) => errors.push(error),
  });
  store.replaceAll(objects.filter((object) => object !== undefined));
  store.setState({ state: 'synced' });
  return store;
}

const meta = (name: string, more: object = {}) => ({
  namespace: 'shop',
  name,
  uid: `uid-${name}`,
  resourceVersion: '1',
  generation: 1,
  creationTimestamp: '2026-01-01T00:00:00Z',
  ...more,
});

/** A cluster without changes. */
function cluster(adminUrl: string, adminKey: string) {
  const upstream = (name: string, spec: object = {}) =>
    transformGatewayUpstream({
      metadata: meta(name, { finalizers: ['gatewayupstream.dev/upstream-cleanup'] }),
      spec: {
        connectionRef: { name: 'edge' },
        backends: [{ serviceRef: { name, port: 80 } }],
        ...spec,
      },
    });
  const names = ['a', 'b', 'c'];
  const connection = transformGatewayConnection({
    metadata: { name: 'edge', uid: 'edge', resourceVersion: '1', generation: 1 },
    spec: {
      type: 'APISIX',
      apisix: { adminUrl, adminKeySecretRef: { name: 'gateway', key: 'admin-key' } },
      allowedNamespaces: { all: true },
      tenantPolicy: { upstreamIds: 'Any' },
    },
  });
  const secret = transformSecret({
    metadata: { namespace: 'operator', name: 'gateway', uid: 's', resourceVersion: '1' },
    data: { 'admin-key': Buffer.from(adminKey).toString('base64') },
  });
  const services = storeWith(
    names.map((name) =>
      transformService({ metadata: meta(name), spec: { ports: [{ name: 'http', port: 80 }] } }),
    ),
    serviceIndexes,
  );
  const slices = storeWith(
    names.map((name, at) =>
      transformSlice({
        metadata: meta(name, { labels: { 'kubernetes.io/service-name': name } }),
        addressType: 'IPv4',
        ports: [{ name: 'http', port: 8080 }],
        endpoints: [{ addresses: [`10.0.${at}.1`] }, { addresses: [`10.0.${at}.2`] }],
      }),
    ),
    sliceIndexes,
  );
  return {
    // The last one requests a foreign upstream.
    upstreams: storeWith(
      [
        ...names.map((name) => upstream(name)),
        upstream('greedy', { upstreamId: 'theirs', backends: [{ serviceRef: { name: 'a', port: 80 } }] }),
      ],
      upstreamIndexes,
    ),
    connections: storeWith([connection]),
    sets: storeWith<GatewayUpstreamSet>([]),
    services,
    namespaces: storeWith([
      transformNamespace({ metadata: { name: 'shop', uid: 'shop', resourceVersion: '1' } }),
    ]),
    secrets: storeWith([secret]),
    source: createKubernetesSource({ services, slices }),
  };
}

const nodesOf = (id: string) => {
  const at = IDS.indexOf(id as (typeof IDS)[number]);
  return [`10.0.${at}.1:8080:1`, `10.0.${at}.2:8080:1`];
};

function nodesIn(value: unknown): readonly string[] {
  const { nodes } = value as {
    readonly nodes: readonly { readonly host: string; readonly port: number; readonly weight: number }[];
  };
  return nodes.map(({ host, port, weight }) => `${host}:${port}:${weight}`);
}

/** A proxy between the operator and the gateway. While `isOn`, it mutates every response. */
async function startMutator(gateway: StandIn) {
  const random = createRandom(SEED);
  const counts: Record<string, number> = Object.fromEntries(MUTATIONS.map((mutation) => [mutation, 0]));
  const state = { isOn: true, answers: 0 };
  const answer = async (request: IncomingMessage, response: ServerResponse) => {
    const body: Buffer[] = [];
    for await (const chunk of request) body.push(chunk as Buffer);
    const given = await fetch(`${gateway.adminUrl}${request.url}`, {
      method: request.method ?? 'GET',
      headers: { 'x-api-key': String(request.headers['x-api-key']) },
      ...(body.length === 0 ? {} : { body: Buffer.concat(body) }),
    });
    const text = await given.text();
    const headers = { 'content-type': 'application/json', server: given.headers.get('server') ?? '' };
    if (!state.isOn) {
      response.writeHead(given.status, headers).end(text);
      return;
    }
    state.answers += 1;
    const { mutation, bytes } = mutate(JSON.parse(text), random);
    counts[mutation] = (counts[mutation] ?? 0) + 1;
    const status = random() < 0.9 ? given.status : pick([200, 201, 204, 301, 400, 404, 418, 500], random);
    response.writeHead(status, headers).end(bytes);
  };
  const underWay = new Set<Promise<void>>();
  const server = createServer((request, response) => {
    const answering = answer(request, response).finally(() => underWay.delete(answering));
    underWay.add(answering);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    state,
    counts,
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    /** Answers abandoned requests before the gateway is closed. */
    async close() {
      await Promise.all(underWay);
      server.closeAllConnections();
      server.close();
    },
  };
}

const rejections: unknown[] = [];
const noteRejection = (reason: unknown) => rejections.push(reason);
beforeEach(() => {
  process.on('unhandledRejection', noteRejection);
});
afterEach(() => {
  process.off('unhandledRejection', noteRejection);
});

describe('mutated responses of a gateway', () => {
  it(`${ANSWERS} of them cause no write of wrong nodes, and no write to a foreign upstream`, async () => {
    await using gateway = await startStandIn();
    const headers = { 'x-api-key': gateway.adminKey };
    for (const id of ['theirs', 'bystander']) {
      const put = { method: 'PUT', headers, body: JSON.stringify(FOREIGN) };
      expect((await fetch(`${gateway.adminUrl}/apisix/admin/upstreams/${id}`, put)).status).toBe(201);
    }
    const foreign = () => ['theirs', 'bystander'].map((id) => gateway.get('upstreams', id));
    const before = foreign();
    gateway.clearRequests();
    const mutator = await startMutator(gateway);
    const stores = cluster(mutator.url, gateway.adminKey);
    const writer: ObjectWriter = {
      ...finalizersOf(stores),
      removeFinalizer: async () => undefined,
      applyStatus: async () => undefined,
    };
    const stop = new AbortController();
    const controller = createController({
      ...stores,
      vendorOf,
      states: new ObjectStates(hasty),
      instruments: createInstruments(createMetrics()),
      grants: storeWith<ReferenceGrantStored>([], grantIndexes),
      onlyNamespaces: [],
      certificates: new Map(),
      clusterId: 'c1',
      operatorNamespace: 'operator',
      permissions: { lacking: () => undefined, onChange: () => ({ [Symbol.dispose]() {} }) },
      writer,
      memberWriter: { apply: async () => undefined, remove: async () => undefined },
      reporter: noReports,
      pace: new Pace(hasty),
      clock: hasty,
      random: Math.random,
      log,
      backoffMs: () => 1,
      resyncMs: 1,
      requestTimeoutMs: 5000,
      mayWrite: () => true,
    });
    const running = controller.run(stop.signal);
    let writes = 0;
    const check = () => {
      for (const { method, path, body } of gateway.requests.slice()) {
        if (method === 'GET') continue;
        writes += 1;
        const id = path.split('/').at(-1) ?? '';
        const label = `FUZZ_SEED=${SEED}: ${method} ${path} ${body}`;
        expect(method, label).toBe('PUT');
        expect(IDS, label).toContain(id);
        expect([...nodesIn(JSON.parse(body ?? ''))].sort(), label).toEqual(nodesOf(id));
      }
      gateway.clearRequests();
      expect(foreign()).toEqual(before);
    };
    try {
      while (mutator.state.answers < ANSWERS) {
        check();
        await sleep(20);
      }
      mutator.state.isOn = false;
      await eventually(() => {
        check();
        expect([...gateway.ids('upstreams')].sort()).toEqual([...IDS, 'bystander', 'theirs'].sort());
        for (const id of IDS) {
          expect([...nodesIn(gateway.get('upstreams', id))].sort()).toEqual(nodesOf(id));
        }
      });
    } finally {
      stop.abort();
      await running;
      await mutator.close();
    }
    check();
    expect(errors).toEqual([]);
    expect(rejections).toEqual([]);
    expect(writes).toBeGreaterThan(10);
    process.stdout.write(
      `${mutator.state.answers} mutated gateway answers: ${JSON.stringify(mutator.counts)}; ${writes} writes, all of the right nodes\n`,
    );
  }, 900_000);
});
